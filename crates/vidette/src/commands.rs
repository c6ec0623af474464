//! The subcommands, a file each, and how they fail.

pub mod batch;
pub mod check;
pub mod convert;
pub mod coverage;
pub mod hunt;
pub mod ingest;
pub mod investigate;
pub mod query;
pub mod simulate;
pub mod tables;
pub mod test;
pub mod tune;

use std::path::PathBuf;
use vidette_engine::Clock;
use vidette_kql::time::parse_datetime;
use vidette_rules::Alert;

/// Why a command ends early: an exit status and what to say on standard error.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub message: String,
}

impl Failure {
    /// A wrong rule or query: exit status 2.
    pub fn query(message: impl Into<String>) -> Failure {
        Failure { status: 2, message: message.into() }
    }

    /// Wrong usage, configuration or files: exit status 3.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { status: 3, message: message.into() }
    }
}

/// One alert of a hunt.
#[derive(clap::Args, Debug)]
pub struct AlertOptions {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The alert: its number in the list that `vidette hunt` gives with the same options, or a part of its title
    #[arg(long)]
    pub alert: String,
    #[command(flatten)]
    pub rules: RuleOptions,
    #[command(flatten)]
    pub time: TimeOptions,
}

/// Which rules a hunt runs.
#[derive(clap::Args, Debug)]
pub struct RuleOptions {
    /// Rule files or folders; without them the built-in pack for T1102.002 runs
    #[arg(short, long)]
    pub rules: Vec<PathBuf>,
    /// Run the related rules of the packs, too: those of neighboring techniques
    #[arg(long)]
    pub related: bool,
    /// Run the hunting queries, too: one that finds rows is an alert of severity Informational
    #[arg(long)]
    pub hunting: bool,
}

/// Which instant `now()` is, and which part of the data is looked at.
#[derive(clap::Args, Debug, Default)]
pub struct TimeOptions {
    /// The instant of now() and ago(), for example 2024-05-01T12:00:00Z; without it, the newest event decides
    #[arg(long)]
    pub now: Option<String>,
    /// Only events from this time on
    #[arg(long)]
    pub from: Option<String>,
    /// Only events up to this time
    #[arg(long)]
    pub to: Option<String>,
}

impl TimeOptions {
    pub fn now(&self) -> Result<Option<i64>, Failure> {
        self.now.as_deref().map(|text| instant("--now", text)).transpose()
    }

    pub fn range(&self) -> Result<(Option<i64>, Option<i64>), Failure> {
        Ok((self.from.as_deref().map(|text| instant("--from", text)).transpose()?, self.to.as_deref().map(|text| instant("--to", text)).transpose()?))
    }

    /// The clock of one query: `--now`, else the newest event, else the machine's.
    pub fn clock(&self, newest: Option<i64>) -> Result<Clock, Failure> {
        let mut clock = self.now()?.or(newest).map_or_else(Clock::now, Clock::at);
        if let (from, to) = self.range()?
            && (from.is_some() || to.is_some())
        {
            clock.window = Some((from.map_or(i64::MIN, |from| from - 1), to.unwrap_or(i64::MAX)));
        }
        Ok(clock)
    }
}

fn instant(option: &str, text: &str) -> Result<i64, Failure> {
    parse_datetime(text).ok_or_else(|| Failure::usage(format!("{option}: `{text}` is not a time such as 2024-05-01T12:00:00Z")))
}

/// An alert by its number in the list, from 1, or by a part of its title.
pub fn choose_alert<'a>(alerts: &'a [Alert], asked: &str) -> Result<&'a Alert, Failure> {
    let numbered = asked.parse::<usize>().ok().and_then(|number| alerts.get(number.checked_sub(1)?));
    let named = || alerts.iter().find(|alert| alert.title.to_lowercase().contains(&asked.to_lowercase()));
    numbered.or_else(named).ok_or_else(|| {
        let list: Vec<String> = alerts.iter().enumerate().map(|(at, alert)| format!("  {} {}", at + 1, alert.title)).collect();
        Failure::usage(format!("no alert `{asked}` among {}\n{}", alerts.len(), list.join("\n")))
    })
}
