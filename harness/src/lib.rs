//! The world around the router.
