//! Loading the programs of the object: the one that is attached, and those that it calls.

use super::XdpError;
use super::program::{chain, map_error, take};
use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{ProgramError, Xdp};
use stateless_tcp_ebpf::abi::{self, FastPathProgram};

/// Loads the programs that answer in the driver, and has the attached program call them for as long as the array is open.
///
/// # Errors
/// The kernel's reason, with the program that it refuses.
pub fn load_fast_path(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, XdpError> {
    let map = take(ebpf, abi::FAST_PATH)?;
    let mut array = ProgramArray::try_from(map).map_err(map_error(abi::FAST_PATH))?;
    for program in FastPathProgram::ALL {
        let name = program.name();
        let xdp = xdp(ebpf, name)?;
        xdp.load().map_err(|error| refusal(name, &error))?;
        let file = xdp.fd().map_err(|error| XdpError::Load { reason: chain(&error) })?;
        array.set(program as u32, file, 0).map_err(map_error(abi::FAST_PATH))?;
    }
    Ok(array)
}

pub(super) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, XdpError> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error: ProgramError| XdpError::Load { reason: chain(&error) })
}

pub(super) fn missing(program: &str) -> XdpError {
    XdpError::Load { reason: format!("the object has no program {program}") }
}

/// The verifier's reason, if it has looked at the program; else the kernel's.
pub(super) fn refusal(program: &'static str, error: &ProgramError) -> XdpError {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let said = verifier_log.to_string();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() {
            return XdpError::Verifier { program, reason: format!("{}: {io_error}", lines.join("; ")) };
        }
    }
    XdpError::Load { reason: chain(error) }
}
