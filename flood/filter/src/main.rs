//! The XDP program of the load generator (`cargo xtask flood`). It asks [`stateless_tcp_flood_filter::classify`] and acts.
//!
//! Built for `bpfel-unknown-none` by `cargo xtask build-ebpf`; elsewhere it is an empty program.
#![cfg_attr(
    target_arch = "bpf",
    no_std,
    no_main,
    expect(unsafe_code, reason = "packet and map access in BPF")
)]

#[cfg(target_arch = "bpf")]
mod program {
    use core::ptr;

    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
    use aya_ebpf::macros::{map, xdp};
    use aya_ebpf::maps::{PerCpuArray, XskMap};
    use aya_ebpf::programs::XdpContext;
    use stateless_tcp_ebpf::abi::MAX_QUEUES;
    use stateless_tcp_flood_filter::{FlowClass, Plan, classify};

    use stateless_tcp_ebpf::packet::Packet;

    #[map]
    static SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
    #[map]
    static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(FlowClass::ALL.len() as u32, 0);

    /// Set before loading, and constant from then on.
    #[unsafe(no_mangle)]
    static PLAN: [u64; Plan::WORDS] = [0; Plan::WORDS];

    /// Entry point.
    #[xdp]
    fn flood(context: XdpContext) -> u32 {
        // SAFETY: a read of a constant of this program, volatile because the loader has replaced it.
        let plan = Plan::from_words(unsafe { ptr::read_volatile(&raw const PLAN) });
        let (class, action) = match classify(&Packet(&context), &plan) {
            FlowClass::Redirected => {
                let redirected = SOCKETS.redirect(context.rx_queue_index(), u64::from(XDP_DROP));
                if redirected.is_ok() {
                    (FlowClass::Redirected, XDP_REDIRECT)
                } else {
                    (FlowClass::NoSocket, XDP_DROP)
                }
            }
            FlowClass::Passed => (FlowClass::Passed, XDP_PASS),
            class => (class, XDP_DROP),
        };
        if let Some(count) = COUNTS.get_ptr_mut(class as u32) {
            // SAFETY: the map hands out a pointer to this CPU's own value, which no one else writes.
            unsafe { *count += 1 };
        }
        action
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
