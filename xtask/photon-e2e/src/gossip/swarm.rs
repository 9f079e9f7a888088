//! Five processes that gossip, whoever wrote them: started, killed, stopped, and known by what their logs say.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::process::Process;

/// How long anything may take that works.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the logs.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a node's log says of another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// That it is there, for the first time or again.
    pub(super) there: fn(&str, &Node) -> bool,
    /// That it failed.
    pub(super) failed: fn(&str, &Node) -> bool,
    /// Words of every line that says that anybody failed.
    pub(super) any_failed: &'static str,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Node {
    /// What the others call it.
    pub(super) name: String,
    /// Where it gossips.
    pub(super) address: String,
    /// The words that start it.
    pub(super) words: Vec<String>,
    /// What it says.
    pub(super) log: PathBuf,
    process: Option<Process>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) nodes: Vec<Node>,
    words: Words,
}

impl Node {
    pub(super) fn new(name: String, address: String, words: Vec<String>, log: PathBuf) -> Self {
        Self { name, address, words, log, process: None }
    }

    fn run(&mut self) -> Result<()> {
        let (program, arguments) = self.words.split_first().context("there is nothing to start")?;
        self.process = Some(Process::start(program, arguments, &self.log)?);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        Ok(kill(Pid::from_raw(i32::try_from(process.pid())?), signal)?)
    }

    fn length(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.log)?.len())
    }

    /// What it has said since its log had this length.
    fn said_since(&self, start: u64) -> Result<String> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Swarm {
    /// Starts all and waits until each has said that it knows each other.
    pub(super) async fn start(mut nodes: Vec<Node>, words: Words) -> Result<Self> {
        for node in &mut nodes {
            node.run()?;
        }
        let swarm = Self { nodes, words };
        for about in 0..swarm.nodes.len() {
            let from = vec![0; swarm.nodes.len()];
            swarm.all_say(about, &from, words.there).await.context("they do not meet")?;
        }
        Ok(swarm)
    }

    /// SIGKILL; returns once all others have said that it failed, with the time that it took.
    pub(super) async fn kill(&mut self, victim: usize) -> Result<Duration> {
        let from = self.lengths()?;
        let killed_at = Instant::now();
        self.nodes[victim].process.take().context("it does not run")?.kill_9()?;
        self.all_say(victim, &from, self.words.failed).await?;
        Ok(killed_at.elapsed())
    }

    /// Starts one again and waits until all others have said that it is there.
    pub(super) async fn bring_back(&mut self, node: usize) -> Result<()> {
        let from = self.lengths()?;
        self.nodes[node].run()?;
        self.all_say(node, &from, self.words.there).await
    }

    /// SIGSTOP, and after a while SIGCONT.
    pub(super) async fn stop_for(&self, node: usize, moment: Duration) -> Result<()> {
        self.nodes[node].signal(Signal::SIGSTOP)?;
        tokio::time::sleep(moment).await;
        self.nodes[node].signal(Signal::SIGCONT)
    }

    /// How often anybody has said that anybody failed.
    pub(super) fn failures(&self) -> Result<usize> {
        self.lines_with(self.words.any_failed)
    }

    /// Lines with these words, in all logs.
    pub(super) fn lines_with(&self, words: &str) -> Result<usize> {
        let logs = self.nodes.iter().map(|node| node.said_since(0));
        logs.map(|log| Ok(log?.lines().filter(|line| line.contains(words)).count())).sum()
    }

    fn lengths(&self) -> Result<Vec<u64>> {
        self.nodes.iter().map(Node::length).collect()
    }

    /// Waits until all others have said something of one.
    async fn all_say(&self, about: usize, from: &[u64], says: fn(&str, &Node) -> bool) -> Result<()> {
        let (begun, whom) = (Instant::now(), &self.nodes[about]);
        let mut waiting: Vec<usize> = (0..self.nodes.len()).filter(|node| *node != about).collect();
        while !waiting.is_empty() {
            let mut silent = Vec::new();
            for node in waiting {
                let said = self.nodes[node].said_since(from[node])?;
                if !said.lines().any(|line| says(line, whom)) {
                    silent.push(node);
                }
            }
            waiting = silent;
            if begun.elapsed() > PATIENCE {
                let names: Vec<_> = waiting.iter().map(|node| self.nodes[*node].name.as_str()).collect();
                bail!("of {}, nothing is said by {}", whom.name, names.join(", "));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}
