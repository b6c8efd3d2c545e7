//! The metrics, as Prometheus reads them: numbers alone, of nobody in particular. README.md has their names.
//!
//! Gathered when they are asked for, from what is counted anyway.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::core::{Caller, Core};
use super::door::Counted;
use super::error::{Refused, Result};
use crate::store::AuditKind;
use crate::vfs::Held;
use crate::vfs::timing::{BOUNDS, Times};

/// Where they are.
pub(super) const PATH: &str = "/metrics";
/// What they are.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What was gathered at one moment.
#[derive(Debug)]
pub(super) struct Gathered {
    uptime: Duration,
    requests: BTreeMap<String, u64>,
    times: BTreeMap<&'static str, Times>,
    refused: BTreeMap<&'static str, u64>,
    /// By kind, session and the way of the data.
    mounts: BTreeMap<[&'static str; 3], u64>,
    workers: usize,
    held: Held,
    folders: usize,
    lost: usize,
    accounts: usize,
    takeovers: u64,
    audit: [(AuditKind, u64); 2],
    connections: usize,
    control: Counted,
    process: Process,
}

impl Core {
    /// Gathers them, for one who may read them.
    pub(super) fn gather(&mut self, caller: &Caller) -> Result<Gathered> {
        if !caller.is_root() && !self.config.metrics_readers.contains(&caller.actor.login) {
            return Err(Refused::denied(
                "the metrics are for root, and for logins that the configuration names under metrics-readers",
            ));
        }
        self.forget_gone_mounts();
        let mut mounts = BTreeMap::new();
        for mount in &self.mounts {
            let options = mount.filesystem().options();
            let kind = if options.read_only {
                "read-only"
            } else if options.strict {
                "strict"
            } else {
                "read-write"
            };
            let session = if options.viewer.online {
                "online"
            } else {
                "personal"
            };
            let data = if mount.has_passthrough() {
                "kernel"
            } else {
                "daemon"
            };
            *mounts.entry([kind, session, data]).or_default() += 1;
        }
        Ok(Gathered {
            uptime: self.started.elapsed(),
            requests: self.shared.requests(),
            times: self.shared.times(),
            refused: self.shared.refused(),
            mounts,
            workers: self.shared.workers(),
            held: self.shared.held(),
            folders: self.snapshot.folders.len(),
            lost: self.backings.values().filter(|backing| backing.is_lost()).count(),
            accounts: self.snapshot.accounts.len(),
            takeovers: self.shared.takeovers(),
            audit: self.store.audit_lines(),
            connections: self.door.connections(),
            control: self.door.counted(),
            process: Process::now(),
        })
    }
}

impl Gathered {
    /// As text.
    ///
    /// # Errors
    /// None is known.
    pub(super) fn text(self) -> Result<String> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)
            .map_err(|error| Refused::failed(format!("the metrics cannot be written: {error}")))?;
        Ok(text)
    }
}

impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let number = |number: usize| number as f64;
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        page.gauges("lendfs_build_info", "Always 1", [(version.to_vec(), 1.0)])?;
        page.counters(
            "lendfs_requests",
            "Requests that the kernel has made of all mounts",
            self.requests
                .iter()
                .map(|(operation, count)| (label("operation", operation), *count)),
        )?;
        page.times("lendfs_request_duration_seconds", &self.times)?;
        page.counters(
            "lendfs_refusals",
            "Requests that a rule has refused, but for names that are not seen",
            self.refused
                .iter()
                .map(|(errno, count)| (label("errno", errno), *count)),
        )?;
        let mounts = self.mounts.iter().map(|([kind, session, data], count)| {
            let labels = [("kind", *kind), ("session", *session), ("data", *data)];
            let labels = labels.map(|(key, value)| (key, value.to_owned()));
            (labels.to_vec(), *count as f64)
        });
        page.gauges("lendfs_mounts", "Mounts that are up", mounts)?;
        page.gauge(
            "lendfs_workers",
            "Threads that serve requests",
            number(self.workers),
        )?;
        page.gauge(
            "lendfs_nodes",
            "Files that the kernel knows",
            number(self.held.nodes),
        )?;
        page.gauge(
            "lendfs_node_descriptors",
            "Descriptors that are kept open for these",
            number(self.held.descriptors),
        )?;
        page.gauges(
            "lendfs_handles",
            "What programs have open",
            [
                (label("kind", "file"), number(self.held.files)),
                (label("kind", "directory"), number(self.held.directories)),
            ],
        )?;
        page.gauge("lendfs_folders", "Folders", number(self.folders))?;
        page.gauge(
            "lendfs_folders_lost",
            "Folders whose backing directory is not there",
            number(self.lost),
        )?;
        page.gauge("lendfs_accounts", "Accounts", number(self.accounts))?;
        page.counters(
            "lendfs_takeovers",
            "Mounts that this daemon took over from an earlier one",
            [(Vec::new(), self.takeovers)],
        )?;
        page.gauges(
            "lendfs_audit_lines",
            "Lines that the audit keeps",
            self.audit
                .iter()
                .map(|(kind, count)| (label("kind", kind.name()), *count as f64)),
        )?;
        self.encode_control(&mut page)?;
        self.encode_process(&mut page)
    }
}

impl Gathered {
    fn encode_control(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(
            "lendfs_control_connections",
            "Connections to the control socket",
            self.connections as f64,
        )?;
        let commands = self.control.commands.iter().map(|((command, outcome), count)| {
            let labels = [("command", *command), ("outcome", *outcome)];
            let labels = labels.map(|(key, value)| (key, value.to_owned()));
            (labels.to_vec(), *count)
        });
        page.counters("lendfs_control_commands", "Commands", commands)?;
        page.counters(
            "lendfs_control_turned_away",
            "Connections and requests that did not come to be commands",
            self.control
                .turned_away
                .iter()
                .map(|(reason, count)| (label("reason", reason), *count)),
        )
    }

    fn encode_process(&self, page: &mut Page<'_>) -> fmt::Result {
        let process = &self.process;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = now.saturating_sub(self.uptime).as_secs_f64();
        page.gauge("process_start_time_seconds", "When the daemon was started", since)?;
        page.seconds("process_cpu_seconds", "Processor time that it took", process.cpu)?;
        page.gauge("process_open_fds", "Its open files", process.files as f64)?;
        page.gauge(
            "process_max_fds",
            "The most that it may have",
            process.most_files as f64,
        )?;
        page.gauge("process_threads", "Its threads", process.threads as f64)?;
        page.gauge(
            "process_resident_memory_bytes",
            "Its memory",
            process.resident as f64,
        )?;
        page.gauge(
            "process_virtual_memory_bytes",
            "Its address space",
            process.virtual_size as f64,
        )
    }
}

type Labels = Vec<(&'static str, String)>;

fn label(key: &'static str, value: &str) -> Labels {
    vec![(key, value.to_owned())]
}

/// The text, as it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters(
        &mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, f64, f64>(&value.as_secs_f64(), None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, [(Vec::new(), value)])
    }

    fn gauges(
        &mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn times(&mut self, name: &str, times: &BTreeMap<&'static str, Times>) -> fmt::Result {
        let help = "How long they took, of a sample of them";
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (operation, times) in times {
            let bounds = BOUNDS
                .iter()
                .map(|&bound| Duration::from_micros(bound).as_secs_f64());
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(times.buckets).collect();
            let labels = label("operation", operation);
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                times.sum.as_secs_f64(),
                times.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

/// What the kernel tells of the daemon's process (`proc_pid_status(5)`, `getrusage(2)`). What it does not tell is 0.
#[derive(Default, Debug)]
struct Process {
    files: u64,
    most_files: u64,
    threads: u64,
    resident: u64,
    virtual_size: u64,
    cpu: Duration,
}

impl Process {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            value.unwrap_or(0)
        };
        let cpu = getrusage(UsageWho::RUSAGE_SELF).map(|usage| {
            let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
            Duration::from_micros(micros.unsigned_abs())
        });
        Self {
            files: open_files(),
            most_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            threads: field("Threads:"),
            resident: field("VmRSS:") * 1024,
            virtual_size: field("VmSize:") * 1024,
            cpu: cpu.unwrap_or_default(),
        }
    }
}

/// Since Linux 6.2 the size of the directory tells it without listing them.
fn open_files() -> u64 {
    const FILES: &str = "/proc/self/fd";
    let told = std::fs::metadata(FILES).map_or(0, |directory| directory.len());
    if told > 0 {
        return told;
    }
    // The one that lists them is none of them.
    std::fs::read_dir(FILES).map_or(0, |files| (files.count() as u64).saturating_sub(1))
}
