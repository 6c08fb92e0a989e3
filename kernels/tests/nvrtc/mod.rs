//! NVRTC, CUDA's compiler as a library: it makes GPU code, with its report of registers, on a machine without a GPU.
//!
//! The library is the one that `REDERIVE_NVRTC` names (`.../site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12` of the Python
//! package `nvidia-cuda-nvrtc-cu12`, say), else the one that the system's loader finds.

use libloading::{Library, Symbol};
use rederive_kernels::Source;
use std::env;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{null, null_mut};

/// The library, loaded.
pub struct Nvrtc(Library);

/// `nvrtcProgram`.
type Program = *mut std::ffi::c_void;

impl Nvrtc {
    /// The library, or why there is none.
    pub fn find() -> Result<Self, String> {
        let names = match env::var("REDERIVE_NVRTC") {
            Ok(path) => vec![path],
            Err(_) => ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(str::to_owned).to_vec(),
        };
        for name in &names {
            // SAFETY: loading NVRTC runs its initialisers, which have no preconditions.
            if let Ok(library) = unsafe { Library::new(name) } {
                return Ok(Nvrtc(library));
            }
        }
        Err("no NVRTC".to_owned())
    }

    /// Compiles for a chip such as `"sm_90"` and returns how many registers a thread of the hungriest kernel takes.
    pub fn registers(&self, source: &Source, architecture: &str) -> Result<u32, String> {
        let (text, name) = (CString::new(source.text).unwrap(), CString::new(source.name).unwrap());
        let options = [format!("--gpu-architecture={architecture}"), "--ptxas-options=-v".to_owned()]
            .map(|option| CString::new(option).unwrap());
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the signatures are those of nvrtc.h, the same in versions 12 and 13.
        let (create, compile, log_size, log, destroy) = unsafe {
            (
                self.function::<unsafe extern "C" fn(
                    *mut Program,
                    *const c_char,
                    *const c_char,
                    c_int,
                    *const *const c_char,
                    *const *const c_char,
                ) -> c_int>(b"nvrtcCreateProgram")?,
                self.function::<unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int>(
                    b"nvrtcCompileProgram",
                )?,
                self.function::<unsafe extern "C" fn(Program, *mut usize) -> c_int>(
                    b"nvrtcGetProgramLogSize",
                )?,
                self.function::<unsafe extern "C" fn(Program, *mut c_char) -> c_int>(b"nvrtcGetProgramLog")?,
                self.function::<unsafe extern "C" fn(*mut Program) -> c_int>(b"nvrtcDestroyProgram")?,
            )
        };
        let mut program: Program = null_mut();
        // SAFETY: strings and options outlive the calls; the log's buffer has the size that was asked for; the program is
        // destroyed once and not used after.
        let (status, log) = unsafe {
            let created = create(&mut program, text.as_ptr(), name.as_ptr(), 0, null(), null());
            if created != 0 {
                return Err(format!("nvrtcCreateProgram returned {created}"));
            }
            let status = compile(program, options.len() as c_int, options.as_ptr());
            let mut size = 0;
            log_size(program, &mut size);
            let mut buffer = vec![0u8; size.max(1)];
            log(program, buffer.as_mut_ptr().cast());
            destroy(&mut program);
            (status, CStr::from_bytes_until_nul(&buffer).unwrap_or_default().to_string_lossy().into_owned())
        };
        if status != 0 {
            return Err(format!("{} for {architecture} does not compile ({status}):\n{log}", source.name));
        }
        // "ptxas info    : Used 32 registers, ..."; a spill would be "... bytes spill stores".
        let words: Vec<&str> = log.split_whitespace().collect();
        let used = words.windows(3).filter(|w| w[0] == "Used" && w[2].starts_with("registers"));
        let spilled = words.windows(4).any(|w| w[1..] == ["bytes", "spill", "stores,"] && w[0] != "0");
        match used.filter_map(|w| w[1].parse().ok()).max() {
            _ if spilled => Err(format!("{} for {architecture} spills registers:\n{log}", source.name)),
            Some(registers) => Ok(registers),
            None => Err(format!("no report of registers in NVRTC's log:\n{log}")),
        }
    }

    /// # Safety
    /// `F` is the function's type.
    unsafe fn function<F>(&self, name: &[u8]) -> Result<Symbol<'_, F>, String> {
        // SAFETY: by this function's contract.
        unsafe { self.0.get(name) }.map_err(|error| error.to_string())
    }
}
