//! A lean Minecraft Java Edition router.
