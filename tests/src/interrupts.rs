//! Deferral of an interface's interrupts: how often, and for how many nanoseconds.

use crate::netns::{Netns, execute};

/// Their files, under `/sys/class/net/DEVICE`.
const SETTINGS: [&str; 2] = ["napi_defer_hard_irqs", "gro_flush_timeout"];

/// As they are.
pub fn deferral(namespace: &Netns, device: &str) -> [String; 2] {
    SETTINGS.map(|name| namespace.run(&format!("cat /sys/class/net/{device}/{name}")).trim().to_owned())
}

/// Sets them.
pub fn put_off(namespace: &Netns, device: &str, values: [&str; 2]) {
    for (name, value) in SETTINGS.into_iter().zip(values) {
        let set = format!("echo {value} > /sys/class/net/{device}/{name}");
        execute(namespace.command("sh").args(["-ec", &set]));
    }
}
