//! What the linker must know of a Node module.

fn main() {
    napi_build::setup();
}
