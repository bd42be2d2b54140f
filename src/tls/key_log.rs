//! The secrets of connections, written to a file for programs that decrypt what was recorded of them (`SSLKEYLOGFILE`).

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use rustls::KeyLog;

use super::config::ConfigError;
use crate::lock::lock;

/// Appends the secrets of each connection to a file, in the format of NSS.
pub struct KeyLogWriter(Mutex<File>);

impl KeyLogWriter {
    /// Opens the file. One that is made can be read by its owner only.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| ConfigError {
            message: format!("the key log {} cannot be written: {error}", path.display()),
            path: path.to_owned(),
            source: Some(error),
        })?;
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for KeyLogWriter {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // One write, so that lines of several processes do not mix. A failure must not fail the connection.
        _ = lock(&self.0).write_all(line.as_bytes());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a `String` cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Debug for KeyLogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLogWriter")
    }
}
