//! Compiles the plain C loop that `gae.recursion` is measured against, with all that this machine can do. Without a C compiler the
//! benchmarks run without that line.

fn main() {
    println!("cargo::rerun-if-changed=peers/gae.c");
    println!("cargo::rustc-check-cfg=cfg(c_loop)");
    let compiled = cc::Build::new()
        .file("peers/gae.c")
        .opt_level(3)
        .flag_if_supported("-march=native")
        .warnings(false)
        .cargo_metadata(false)
        .try_compile("gae_c");
    match compiled {
        Ok(()) => {
            let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
            println!("cargo::rustc-link-search=native={folder}");
            println!("cargo::rustc-link-lib=static=gae_c");
            println!("cargo::rustc-cfg=c_loop");
        }
        Err(error) => println!("cargo::warning=no C loop to compare with: {error}"),
    }
}
