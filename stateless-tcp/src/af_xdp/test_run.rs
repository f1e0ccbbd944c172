//! What the attached program does with a frame, tried without sending one (BPF_PROG_TEST_RUN).

use super::XdpError;
use super::interface::Interface;
use super::program::{Program, chain};
use aya::{TestRun as _, TestRunOptions};

/// A frame of ours is shorter, and so is what the program answers by itself.
const LONGEST: usize = 2_048;

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdpVerdict {
    /// The program sends this by itself.
    Answered(Vec<u8>),
    /// It goes to the socket of its queue.
    Redirected,
    /// The kernel gets it.
    Left,
    /// Nobody does.
    Dropped,
}

impl Program {
    /// What becomes of `frame` where it comes to `queue` of the interface now: as which it must be attached.
    ///
    /// # Errors
    /// It is not attached, or the kernel does not run it there: the interface is down, or has no such queue.
    pub fn attempt(&mut self, queue: u32, frame: &[u8]) -> Result<XdpVerdict, XdpError> {
        let interface = self.interface().clone();
        let Interface { name, index } = &interface;
        let refused = |reason: String| XdpError::Trial { interface: name.clone(), queue, reason };
        let program = self.xdp()?;
        let id = program.info().map_err(|error| refused(chain(&error)))?.id();
        let attached = interface.attached().map_err(|error| refused(error.to_string()))?;
        if attached.is_none_or(|attached| attached.id != id) {
            return Err(XdpError::Detached { interface: name.clone() });
        }
        // A sysfs of another namespace knows nothing of it.
        if interface.has_carrier().is_ok_and(|carrier| !carrier) {
            return Err(refused("nothing is connected to the interface".to_owned()));
        }
        let context = context(frame.len(), *index, queue);
        let mut out = vec![0; LONGEST];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).map_err(|error| refused(chain(&error)))?;
        out.truncate(usize::try_from(result.data_size_out).unwrap_or_default());
        Ok(match result.return_value {
            XDP_DROP => XdpVerdict::Dropped,
            XDP_TX => XdpVerdict::Answered(out),
            XDP_REDIRECT => XdpVerdict::Redirected,
            _ => XdpVerdict::Left,
        })
    }
}

// enum xdp_action of linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// struct xdp_md of linux/bpf.h: data, data_end and data_meta as offsets, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(length: usize, interface: u32, queue: u32) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    [0, length, 0, interface, queue, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}
