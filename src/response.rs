//! The head of a response, whatever the protocol it came by.

use crate::connection::{http1, http2};

#[derive(Clone, Debug)]
pub enum ResponseHead {
    Http1(http1::ResponseHead),
    Http2(http2::ResponseHead),
}

impl ResponseHead {
    pub fn status(&self) -> u16 {
        match self {
            Self::Http1(head) => head.status,
            Self::Http2(head) => head.status,
        }
    }
}
