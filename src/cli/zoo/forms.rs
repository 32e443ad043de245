//! The forms in which a report is shown: text, JSON, JUnit's XML, HTML.

use std::path::PathBuf;
use std::time::SystemTime;

use paddle2onnx::zoo::{self, Report};

use super::super::loudness::is_quiet;
use super::super::outcome::{Outcome, Result};
use super::super::output::Pending;
use super::super::stdout::{print, print_json};
use super::table::{self, Table};

/// How to show the results.
#[derive(clap::Args)]
pub(super) struct Forms {
    /// Print a JSON object instead of text
    #[arg(long)]
    pub json: bool,

    /// Write the results as JUnit's XML, too
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,

    /// Write the results as a page for people, too
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

/// The files that were asked for, which are not written yet.
pub(super) struct Files {
    junit: Option<Pending>,
    html: Option<Pending>,
}

impl Forms {
    /// Opens the files that were asked for.
    pub fn files(&self) -> Result<Files> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(Pending::create).transpose();
        Ok(Files {
            junit: open(&self.junit)?,
            html: open(&self.html)?,
        })
    }

    /// Prints the report, without the rows of the table if these are on stdout already.
    pub fn print(&self, report: &Report, has_rows: bool) -> Result<Outcome> {
        if self.json {
            print_json(report)?;
        } else if !report.passed || !is_quiet() {
            if !has_rows {
                let table = Table::of(report.results.iter().map(|result| result.name.as_str()));
                let rows = report.results.iter().map(|result| table.row(result));
                print(&(table.header() + &rows.collect::<String>()))?;
            }
            print(&table::summary(report))?;
        }
        Ok(if report.passed {
            Outcome::Success
        } else {
            Outcome::NotAsExpected
        })
    }
}

impl Files {
    /// Writes the report to the files.
    pub fn finish(self, report: &Report) -> Result<()> {
        if let Some(file) = self.junit {
            file.finish(&zoo::junit(report)?)?;
        }
        if let Some(file) = self.html {
            file.finish(&zoo::html(report, SystemTime::now()))?;
        }
        Ok(())
    }
}
