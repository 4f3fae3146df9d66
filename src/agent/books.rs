//! Which leases are kept, and who is told to return one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, spawn_local};

use super::figures::{Figures, count};
use super::keeper::{Ended, Keeper, Shared};
use super::options::Options;
use super::say::say;
use crate::kernel::changes::LinkChange;
use crate::kernel::netns::Netns;
use crate::lease::place::Place;
use crate::lease::record::Record;

/// All leases of the node.
pub(super) struct Books {
    pub(super) place: Place,
    options: Options,
    figures: Rc<Figures>,
    kept: RefCell<BTreeMap<String, Kept>>,
}

/// One lease that is kept.
struct Kept {
    task: AbortHandle,
    /// Tells the keeper to give the lease back; it answers whether it could.
    give_back: Option<oneshot::Sender<oneshot::Sender<bool>>>,
    state: Rc<Cell<&'static str>>,
    /// Tells the keeper that something happened to its interface.
    woken: Rc<Notify>,
    /// The container's namespace, where its path can be seen from here.
    sandbox: Option<(Netns, PathBuf)>,
}

impl Books {
    /// None is kept yet.
    pub(super) fn new(place: Place, options: Options) -> Self {
        Self { place, options, figures: Rc::default(), kept: RefCell::default() }
    }

    /// How many are kept.
    pub(super) fn count(&self) -> usize {
        self.kept.borrow().len()
    }

    /// Keeps the lease of this host interface's record from now on, in this namespace or the one that the record names.
    ///
    /// # Errors
    /// Says in words why not.
    pub(super) fn keep(self: &Rc<Self>, host: &str, netns: Option<Netns>) -> Result<(), String> {
        let record = Record::read(&self.place, host).map_err(|error| error.to_string())?;
        let record = record.ok_or("it has no record")?;
        let path = self.options.path_of(&record);
        let netns = match netns {
            Some(netns) => netns,
            None => Netns::open(&path).map_err(|error| error.msg().to_string())?,
        };
        let sandbox = netns.try_clone().map_err(|error| error.to_string())?;
        let sandbox = Some((sandbox, path)).filter(|(netns, path)| netns.is_at(path));

        let state = Rc::new(Cell::new("BOUND"));
        let (give_back, told) = oneshot::channel();
        let woken = Rc::new(Notify::new());
        let shared = Shared { figures: self.figures.clone(), state: state.clone(), woken: woken.clone() };
        let keeper = Keeper::new(record, netns, self.place.clone(), shared);
        let keeper = keeper.ok_or("its record names no MAC")?;
        let (books, name) = (self.clone(), host.to_string());
        let task = spawn_local(async move {
            let owner = keeper.owner();
            if let Ended::Gone(why) = keeper.run(told).await {
                say(format_args!("{owner}: no longer kept: {why}"));
            }
            books.kept.borrow_mut().remove(&name);
        });
        let task = task.abort_handle();
        let kept = Kept { task, give_back: Some(give_back), state, woken, sandbox };
        if let Some(former) = self.kept.borrow_mut().insert(host.to_string(), kept) {
            former.task.abort();
        }
        Ok(())
    }

    /// Has the lease of this host interface given back; whether that was done.
    pub(super) async fn release(&self, host: &str) -> bool {
        let give_back = self.kept.borrow_mut().get_mut(host).and_then(|kept| kept.give_back.take());
        let Some(give_back) = give_back else { return false };
        let (done, answer) = oneshot::channel();
        let told = give_back.send(done).is_ok();
        let done = told && answer.await.unwrap_or(false);
        if done {
            count(&self.figures.released);
        }
        done
    }

    /// Hears of a change of a host side. A short loss of carrier may show as no loss at all, so each change counts.
    pub(super) fn hear(&self, change: &LinkChange) {
        if let Some(kept) = self.kept.borrow().get(&change.name)
            && change.carrier != Some(false)
        {
            kept.woken.notify_one();
        }
    }

    /// Gives back the leases of sandboxes that went without a DEL: the agent's own sockets keep their namespaces.
    pub(super) async fn sweep(&self) {
        for host in self.abandoned() {
            let released = self.release(&host).await;
            say(format_args!("{host}: its sandbox is gone, its lease {}", told(released)));
            if let Err(error) = Record::remove(&self.place, &host) {
                say(format_args!("cannot delete the record of {host}: {error}"));
            }
            let kept = self.kept.borrow_mut().remove(&host);
            if let Some(kept) = kept {
                kept.task.abort();
            }
        }
    }

    fn abandoned(&self) -> Vec<String> {
        let gone = |kept: &Kept| kept.sandbox.as_ref().is_some_and(|(netns, path)| !netns.is_at(path));
        self.kept.borrow().iter().filter(|(_, kept)| gone(kept)).map(|(host, _)| host.clone()).collect()
    }

    /// Writes the figures where they are wanted.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write_figures(&self) -> io::Result<()> {
        let Some(path) = &self.options.metrics else { return Ok(()) };
        let mut states = BTreeMap::new();
        for kept in self.kept.borrow().values() {
            *states.entry(kept.state.get()).or_default() += 1;
        }
        let unfinished = path.with_extension("new");
        std::fs::write(&unfinished, self.figures.text(&states))?;
        std::fs::rename(&unfinished, path)
    }
}

fn told(released: bool) -> &'static str {
    if released { "given back" } else { "runs out" }
}
