//! With the feature `cpu`: compiles the kernels as C++17 for this machine.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(cpu_kernels)");
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cpu")]
    cpu();
}

#[cfg(feature = "cpu")]
fn cpu() {
    use std::{env, fs, path::Path};

    println!("cargo::rerun-if-changed=cuda");
    println!("cargo::rerun-if-changed=cpu");
    let mut build = cc::Build::new();
    // No C++ library is needed, so none is linked.
    build.cpp(true).std("c++17").cpp_link_stdlib(None).flag_if_supported("-fno-exceptions");
    // A kernel that does not compile is an error; a machine with a C compiler alone is not.
    let probe = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("probe.cpp");
    fs::write(&probe, "int probe() { return 0; }\n").expect("OUT_DIR is writable");
    if let Err(error) = build.clone().cargo_metadata(false).file(&probe).try_compile("probe") {
        println!("cargo::warning=no C++ compiler, so the kernels can't be run on the CPU: {error}");
        return;
    }
    // `#pragma unroll` is for the GPU.
    build.flag_if_supported("-Wno-unknown-pragmas").file("cpu/gae.cpp").compile("rederive_cpu_kernels");
    println!("cargo::rustc-cfg=cpu_kernels");
}
