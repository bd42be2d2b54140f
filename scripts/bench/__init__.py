"""The benchmark: candidates (`clients`), method (`measure`), tasks (`sections`), and how results are shown."""
