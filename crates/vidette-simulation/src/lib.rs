//! Telemetry that was never recorded: what a scenario's processes would have left in Windows and Linux logs, among the noise
//! of an ordinary day. The same seed gives the same bytes.
//!
//! ```
//! let text = "scenarios: [{name: a, title: A, host: pc1, user: ann, does: [{start: 'C:\\a.exe', reach: pastebin.com}]}]";
//! let scenarios = vidette_simulation::parse(text)?.scenarios;
//! let mut machine = vidette_simulation::Machine::new(&scenarios[0].host, scenarios[0].platform, 7);
//! let events = machine.play(&scenarios[0].user, &scenarios[0].does, 638_000_000_000_000_000);
//! assert_eq!(events.iter().map(|event| event.event_id).collect::<Vec<_>>(), [1, 22, 3]);
//! # Ok::<(), vidette_simulation::Wrong>(())
//! ```
//!
//! In reading order: [`Scenario`] (the file format), [`Machine`] (steps to events), [`Profile`] (what of it a sensor would have
//! logged), [`day`] (background).

mod background;
mod machine;
mod profile;
mod scenario;

pub use background::day;
pub use machine::Machine;
pub use profile::Profile;
pub use scenario::{Activity, Library, Platform, Scenario, Step, Wrong, parse};
