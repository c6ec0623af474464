//! Runs Microsoft Sentinel and Defender XDR detections anywhere: arguments in, output and exit status out.

/// A line for a person, on standard error. Where nobody reads it any more, as behind `2>&1 | head`, the work goes on: `eprintln!` panics.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stderr(), $($text)*).ok();
    }};
}

mod built_ins;
mod case;
mod commands;
mod custom_tables;
mod first_tests;
mod hunting;
mod output;
mod packs;
mod progress;
mod saved_functions;
mod sigma;
mod simulated;
mod witness;
mod workspace;

use clap::{Parser, Subcommand};
use commands::{Failure, batch, check, convert, coverage, hunt, ingest, investigate, query, simulate, tables, test, tune};
use std::path::PathBuf;
use std::process::ExitCode;

/// Many threads hand small buffers to one another here: `BENCHMARKS.md` has what the system's allocator costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "vidette", version, about, after_help = "Exit status: 0 done, 1 alerts (with --fail-on-alert), 2 wrong rule or query, 3 unreadable input or wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A database of addresses in MaxMind's format, for geo_info_from_ip_address
    #[arg(long, global = true, value_name = "FILE")]
    geoip: Option<std::path::PathBuf>,
    /// A folder with copies of the files that `externaldata` names, each under the last part of its address
    #[arg(long, global = true, value_name = "DIR")]
    external: Option<std::path::PathBuf>,
    /// Saved functions: a file of KQL or YAML, or a folder of them
    #[arg(long, global = true, value_name = "PATH")]
    functions: Option<std::path::PathBuf>,
    /// Schemas of custom tables: JSON as Sentinel's repository or the Tables API has them, or a folder of them
    #[arg(long, global = true, value_name = "PATH")]
    custom_tables: Option<std::path::PathBuf>,
    /// Look for deleted records in the unused space of EVTX files, too
    #[arg(long, global = true)]
    carve: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run detection rules over a folder of logs and show the alerts
    Hunt(hunt::Options),
    /// Run a KQL query over files
    Query(query::Options),
    /// Run the investigation guide around an alert, and write one case report
    Investigate(investigate::Options),
    /// Write files of telemetry to a folder of Parquet, by table and day
    Ingest(ingest::Options),
    /// Show which tables and signals the files hold
    Tables(tables::Options),
    /// Show hosts, sources and gaps of the data, and which rules can fire on it
    Coverage(coverage::Options),
    /// Show what is wrong with queries and rules
    Check(check::Options),
    /// Run the tests of rules
    Test(test::Options),
    /// Write rules for other platforms, or as KQL that stands alone
    Convert(convert::Options),
    /// Make a tuning entry from an alert, and show what else it would keep quiet
    Tune(tune::Options),
    /// Write the telemetry that an attack would leave, in the noise of ordinary days
    Simulate(simulate::Options),
    /// Answer one JSON query a line, for test harnesses
    Batch {
        /// Files and folders of telemetry; without any the known tables are empty
        paths: Vec<PathBuf>,
        /// Bind against the known schemas, run nothing
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        time: commands::TimeOptions,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { 3 } else { 0 };
            error.print().ok();
            return ExitCode::from(status);
        }
    };
    if let Some(Err(message)) = cli.geoip.as_deref().map(vidette_engine::use_geoip) {
        say!("error: {message}");
        return ExitCode::from(3);
    }
    if cli.carve {
        workspace::use_carving();
    }
    if let Some(folder) = cli.external {
        workspace::use_external(folder);
    }
    if let Some(Err(failure)) = cli.custom_tables.as_deref().map(custom_tables::use_custom_tables) {
        say!("{}", failure.message.trim_end());
        return ExitCode::from(failure.status);
    }
    if let Some(Err(failure)) = cli.functions.as_deref().map(saved_functions::use_functions) {
        say!("{}", failure.message.trim_end());
        return ExitCode::from(failure.status);
    }
    let result: Result<u8, Failure> = match cli.command {
        Command::Hunt(options) => hunt::run(options).await,
        Command::Query(options) => query::run(options).await,
        Command::Investigate(options) => investigate::run(&options).await,
        Command::Ingest(options) => ingest::run(&options),
        Command::Tables(options) => tables::run(&options).await,
        Command::Coverage(options) => coverage::run(&options).await,
        Command::Check(options) => check::run(&options),
        Command::Convert(options) => convert::run(&options),
        Command::Tune(options) => tune::run(&options).await,
        Command::Test(options) => test::run(&options).await,
        Command::Simulate(options) => simulate::run(&options).await,
        Command::Batch { paths, check, time } => batch::run(&paths, check, &time).await,
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            say!("{}", failure.message.trim_end());
            ExitCode::from(failure.status)
        }
    }
}
