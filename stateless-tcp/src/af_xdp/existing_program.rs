//! Whoever has a program on an interface before us.

use super::XdpError;
use super::interface::Interface;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::{ProgramInfo, loaded_programs};
use stateless_tcp_ebpf::abi;

/// Refuses an interface that has a program already, or takes that off if `replace`.
///
/// # Errors
/// [`XdpError::Occupied`], with what is known of the program.
pub fn make_way(interface: &Interface, replace: bool) -> Result<(), XdpError> {
    // Where the kernel does not tell, attaching will.
    let Ok(Some(attached)) = interface.attached() else { return Ok(()) };
    let remedy = if replace {
        match interface.detach(attached) {
            Ok(()) => {
                tracing::warn!(
                    interface = interface.name,
                    program = attached.id,
                    "took off another XDP program"
                );
                return Ok(());
            }
            Err(_) => {
                "it is held by a BPF link, which only the process that holds it can let go: stop that process"
            }
        }
    } else {
        "stop the process that attached it, or take it off by --replace (not possible for a program held by a BPF link)"
    };
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == attached.id);
    let name = program.as_ref().and_then(|program| program.name_as_str()).unwrap_or("unnamed").to_owned();
    let steers = if name == abi::PROGRAM { steered(program).unwrap_or_default() } else { String::new() };
    let (interface, mode) = (interface.name.clone(), attached.mode.name());
    Err(XdpError::Occupied { interface, name, id: attached.id, mode, steers, remedy })
}

/// The ports that another instance steers, in words.
fn steered(program: Option<ProgramInfo>) -> Option<String> {
    for id in program?.map_ids().ok()?? {
        let map = MapData::from_id(id).ok()?;
        if map.info().ok()?.name_as_str() != Some(abi::PORTS) {
            continue;
        }
        let ports: HashMap<_, u16, u8> = HashMap::try_from(Map::HashMap(map)).ok()?;
        let mut ports: Vec<u16> = ports.keys().filter_map(Result::ok).collect();
        ports.sort_unstable();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        return Some(format!(", another instance of stateless-tcp that steers port {}", ports.join(" and ")));
    }
    None
}
