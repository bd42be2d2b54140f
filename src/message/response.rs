//! The head of a response of either protocol.

use super::{Http1Head, Http2Head};

#[derive(Clone, Debug)]
pub enum ResponseHead {
    Http1(Http1Head),
    Http2(Http2Head),
}

impl ResponseHead {
    pub fn status(&self) -> u16 {
        match self {
            Self::Http1(head) => head.status,
            Self::Http2(head) => head.status,
        }
    }
}
