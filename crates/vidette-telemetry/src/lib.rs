//! Telemetry as it exists on disk to Defender tables in Arrow.
//!
//! ```no_run
//! let all = vidette_telemetry::Normalizer::new(|_, _| true);
//! let harvest = vidette_telemetry::harvest(&["logs".into()], &all, vidette_telemetry::Reading::default(), &mut |_| {})?;
//! for (table, batches) in &harvest.tables {
//!     println!("{table}: {} rows", batches.iter().map(|batch| batch.num_rows()).sum::<usize>());
//! }
//! # Ok::<(), vidette_telemetry::Error>(())
//! ```
//!
//! In reading order: [`harvest()`], `folders` (what is read), `formats` (bytes to events), [`Event`], `normalize` (events to rows, by `mapping` and `convert`), `context` (what
//! events tell about each other), `devices` (what they tell about their device), [`row`] (rows to Arrow), [`Spill`] (rows
//! that do not fit into memory), [`schemas`].

mod context;
mod convert;
mod devices;
mod error;
mod event;
mod evtx_writer;
mod folders;
mod formats;
mod harvest;
mod mapping;
mod normalize;
pub mod row;
pub mod schemas;
mod spill;
mod store;

pub use error::{Error, Problem};
pub use event::{Event, format_time, parse_time, unix_seconds};
pub use evtx_writer::write_evtx;
pub use folders::files_under;
pub use formats::{Footer, is_parquet, learn, learn_more_columns, other_table, recognize, table_of_parquet};
pub use harvest::{Harvest, Keep, Origin, Progress, Reading, Sieve, Summary, Watch, Watcher, harvest, harvest_files};
pub use normalize::{Normalizer, SIGNALS, bag_of_data, tables_of, tables_of_events, windows_event};
pub use spill::Spill;
pub use store::{Seen, Step, Store, is_event_of_store, is_made_of_events};
