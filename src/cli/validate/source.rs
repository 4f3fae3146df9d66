//! What the command line names: files, folders of files, standard input.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::finding::{Finding, Place, Severity};

/// The longest file that is read.
const FILE_MAX: u64 = 16 << 20;
/// What a file in a folder ends with that is read, as with kubectl, and as runtimes do in /etc/cni/net.d.
const ENDINGS: [&str; 5] = ["yaml", "yml", "json", "conf", "conflist"];
/// How standard input is named on the command line.
const STANDARD_INPUT: &str = "-";

/// A file to check, or why it cannot be read.
pub struct Source {
    pub name: String,
    pub text: Result<String, Finding>,
}

/// Reads everything that is named; what cannot be read hides nothing else.
pub fn read(names: &[String]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut standard_input = 0;
    for name in names {
        standard_input += usize::from(name == STANDARD_INPUT);
        if name == STANDARD_INPUT && standard_input > 1 {
            let why = "standard input is named twice: it can be read once";
            sources.push(Source { name: name.clone(), text: Err(unreadable(name, why)) });
        } else if name != STANDARD_INPUT && Path::new(name).is_dir() {
            sources.extend(folder(name));
        } else {
            sources.push(Source {
                name: name.clone(),
                text: contents(name).map_err(|why| unreadable(name, &why)),
            });
        }
    }
    sources
}

fn unreadable(name: &str, why: &str) -> Finding {
    let place = Place { file: name.to_string(), line: 1, document: 1, object: String::new() };
    Finding::new(Severity::Error, "unreadable", place, why)
}

/// The files of a folder in the order of their names, without those below it.
fn folder(name: &str) -> Vec<Source> {
    let failed = |why: &str| vec![Source { name: name.to_string(), text: Err(unreadable(name, why)) }];
    let entries = match fs::read_dir(name) {
        Ok(entries) => entries,
        Err(error) => return failed(&format!("the folder cannot be read: {error}")),
    };
    let mut files: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)))
        .filter(|path| path.is_file())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    files.sort_unstable();
    if files.is_empty() {
        return failed(&format!("the folder has no file that ends with .{}", ENDINGS.join(", .")));
    }
    read(&files)
}

fn contents(name: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData => "the file is not text in UTF-8".to_string(),
        _ => format!("the file cannot be read: {error}"),
    };
    let source: Box<dyn Read> = match name {
        STANDARD_INPUT => Box::new(std::io::stdin().lock()),
        _ => Box::new(fs::File::open(name).map_err(failed)?),
    };
    let mut text = String::new();
    source.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!("the file is larger than {} MiB", FILE_MAX >> 20));
    }
    Ok(text)
}
