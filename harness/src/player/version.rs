//! Protocol numbers since when clients differ, on their own and not the router's word.

/// 1.8: the first with Set Compression; the client's idle time grows from 20 to 30 seconds.
pub const V1_8: i32 = 47;
/// 1.13: the first with Login Plugin Request.
pub const V1_13: i32 = 393;
/// 1.19: a login start may carry a key and its signature.
pub const V1_19: i32 = 759;
/// 1.19.1: and after it, if the client likes, the player's UUID.
pub const V1_19_1: i32 = 760;
/// 1.19.3: the key has gone again, the UUID is still optional.
pub const V1_19_3: i32 = 761;
/// 1.20.2: the UUID always follows the name.
pub const V1_20_2: i32 = 764;
/// 1.20.5: cookies and transfers.
pub const V1_20_5: i32 = 766;
/// 1.21.2: login success loses the flag for strict error handling.
pub const V1_21_2: i32 = 768;
/// 1.21.6: dialogs.
pub const V1_21_6: i32 = 771;
/// 26.2: login success gains the id of the server's session.
pub const V26_2: i32 = 776;
/// 26.3: Post Effects comes before Store Cookie.
pub const V26_3: i32 = 777;
