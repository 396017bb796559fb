//! The world around the router.

pub mod chaos;
pub mod eventually;
pub mod postgres;
