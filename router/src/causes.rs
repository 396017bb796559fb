//! An error together with its causes, for libraries whose own texts leave them out.

use std::error::Error;

/// `error: its cause: that one's cause`.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
