//! The results as they are kept: the JSON file.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// All that table and chart are made of.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Processors and kernel.
    pub(crate) machine: String,
    /// Of this, as git describes it.
    pub(crate) commit: String,
    /// The load generator, and its version.
    pub(crate) generators: Vec<String>,
    /// In the order of the tables.
    pub(crate) servers: Vec<ServerInfo>,
    /// One for each time that everything was measured once, in turn.
    pub(crate) rounds: Vec<Round>,
    pub(crate) memory: Vec<Memory>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerInfo {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its configuration file.
    pub(crate) configuration: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// When it began.
    pub(crate) date: String,
    /// Processes ready to run when it began, over 1, 5 and 15 minutes.
    pub(crate) load_average: String,
    /// Load of the idle cores, 0 to 1: the server's, the generator's.
    pub(crate) idle: [f64; 2],
    pub(crate) samples: Vec<Sample>,
}

/// One server under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) server: String,
    pub(crate) generator: String,
    /// The generator's rate a second, if it goes by the clock.
    pub(crate) rate: Option<u32>,
    /// Transactions a second.
    pub(crate) offered: f64,
    pub(crate) answered: f64,
    /// Busy part of the cores, 0 to 1.
    pub(crate) server_core: f64,
    pub(crate) generator_core: f64,
    /// Microseconds of the server's core for each answer: all that it did; of these, as the scheduler counts, the server's
    /// process, and the threads that receive for it.
    pub(crate) cost: f64,
    pub(crate) process_cost: f64,
    pub(crate) napi_cost: f64,
    /// Microseconds that 50, 99 and 99.9 % of the probes waited at most; none if more were not answered in time.
    pub(crate) latency: [Option<f64>; 3],
    pub(crate) probes: usize,
    pub(crate) probes_failed: usize,
}

/// A server with so many open connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) server: String,
    /// Asked for, and reached.
    pub(crate) wanted: usize,
    pub(crate) connections: usize,
    /// Of 1,000 of them, those on which a question was answered afterwards.
    pub(crate) alive: usize,
    /// Bytes: of the server's processes; of the kernel, beyond what it had before the server was started.
    pub(crate) process: u64,
    pub(crate) kernel: i64,
}

impl Results {
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read {}: has `cargo xtask bench` been run?", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not what the bench wrote", path.display()))
    }

    pub(crate) fn store(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Goes on with what an earlier run measured, here and with the same programs.
    pub(crate) fn continue_from(&mut self, earlier: Self) -> anyhow::Result<()> {
        let same = |results: &Self| {
            format!("{}, {}, at {}", results.machine, results.generators.join(", "), results.commit)
        };
        let (now, then) = (same(self), same(&earlier));
        ensure!(
            now == then,
            "the earlier run was on {then}, this one is on {now}: begin anew, without --append"
        );
        let servers = std::mem::replace(&mut self.servers, earlier.servers);
        for server in servers {
            match self.servers.iter().find(|other| other.name == server.name) {
                Some(same) => {
                    ensure!(
                        *same == server,
                        "{} was another in the earlier run: {}",
                        same.name,
                        same.version
                    );
                }
                None => self.servers.push(server),
            }
        }
        (self.rounds, self.memory) = (earlier.rounds, earlier.memory);
        Ok(())
    }
}
