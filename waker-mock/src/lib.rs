//! The reference server-manager.
