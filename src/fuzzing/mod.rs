//! Entry points for the fuzz targets in `fuzz/`, with the oracles that judge what the engine did.
//!
//! Each target is a function of bytes. It panics where the engine breaks a rule. It is compiled for fuzzing and for tests only: a
//! test runs each target on the corpus in `fuzz/corpus/`, so that what was once found stays found.
//!
//! An input begins with its control bytes, behind their number: what they choose is said at each target. The rest is what
//! the peer sends, so that the corpus can be read.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "an oracle panics where the engine breaks a rule"
)]

mod dialogues;
mod framing;
mod http1_exchange;
mod http2_frames;
mod input;
mod peer;
mod request_head;
mod response_head;

pub use self::dialogues::dialogues;
pub use self::http1_exchange::http1_exchange;
pub use self::http2_frames::http2_frames;
pub use self::request_head::request_head;
pub use self::response_head::response_head;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::PathBuf;

    /// Runs a target on each file of its corpus.
    fn replay(name: &str, target: fn(&[u8])) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<_> =
            fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("a file of the corpus").path()).collect();
        files.sort();
        assert!(!files.is_empty());
        for file in files {
            let data = fs::read(&file).expect("a file of the corpus");
            assert!(catch_unwind(|| target(&data)).is_ok(), "{}", file.display());
        }
    }

    #[test]
    fn response_heads_of_the_corpus() {
        replay("response_head", super::response_head);
    }

    #[test]
    fn request_heads_of_the_corpus() {
        replay("request_head", super::request_head);
    }

    #[test]
    fn http1_exchanges_of_the_corpus() {
        replay("http1_exchange", super::http1_exchange);
    }

    #[test]
    fn dialogues_of_the_corpus() {
        replay("dialogues", super::dialogues);
    }

    #[test]
    fn http2_frames_of_the_corpus() {
        replay("http2_frames", |data| super::http2_frames(data, &|| 0));
    }
}
