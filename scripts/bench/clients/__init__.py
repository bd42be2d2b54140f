"""The candidates, behind one small interface: libraries, httpx over them, and bare sockets as the limit."""
