//! The executable: a CNI plugin when CNI_COMMAND is set, the node's diagnostic tool otherwise.

fn main() {}
