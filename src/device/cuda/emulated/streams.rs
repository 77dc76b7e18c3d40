//! Streams that nothing but their events puts in order.
//!
//! What comes next is drawn among the streams that can go on, and nothing is done before somebody waits for it: a
//! missing event or a missing wait of the host shows in what is computed.

use crate::random::{Purpose, Stream as Draws};
use std::collections::{HashMap, HashSet, VecDeque};

/// What stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<W> {
    /// Something to do.
    Work(W),
    /// An event is reached.
    Record(Mark),
    /// What follows waits for an event.
    Wait(Mark),
}

/// An event, and which of its records is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The event.
    pub event: usize,
    round: u64,
}

/// Streams and events, by number.
#[derive(Debug)]
pub struct Streams<W> {
    queues: Vec<VecDeque<Entry<W>>>,
    recorded: Vec<u64>,
    reached: Vec<u64>,
    capture: Option<Capture<W>>,
    seed: u64,
    draws: usize,
}

/// Work that is captured, not done.
#[derive(Debug)]
struct Capture<W> {
    origin: usize,
    branches: HashMap<usize, VecDeque<Entry<W>>>,
    recorded: HashMap<usize, u64>,
    /// Streams whose last entry is a record that another stream waits for.
    joined: HashSet<usize>,
    /// The streams that recorded the events last.
    recorded_on: HashMap<usize, usize>,
}

/// A captured graph.
#[derive(Debug, Clone)]
pub struct Graph<W> {
    branches: Vec<VecDeque<Entry<W>>>,
    events: usize,
}

impl<W: Clone> Streams<W> {
    /// No streams; `seed` chooses what comes next.
    pub fn new(seed: u64) -> Self {
        Self { queues: Vec::new(), recorded: Vec::new(), reached: Vec::new(), capture: None, seed, draws: 0 }
    }

    /// The streams of one run of `graph`.
    pub fn of(graph: &Graph<W>, seed: u64) -> Self {
        let Graph { branches, events } = graph.clone();
        Self { queues: branches, recorded: vec![0; events], reached: vec![0; events], ..Self::new(seed) }
    }

    /// One more stream.
    pub fn add_stream(&mut self) -> usize {
        self.queues.push(VecDeque::new());
        self.queues.len() - 1
    }

    /// One more event.
    pub fn add_event(&mut self) -> usize {
        self.recorded.push(0);
        self.reached.push(0);
        self.recorded.len() - 1
    }

    /// Queues work.
    pub fn push(&mut self, stream: usize, work: W) {
        self.queue(stream, Entry::Work(work));
    }

    /// Marks what is queued on `stream` so far.
    pub fn record(&mut self, event: usize, stream: usize) {
        let round = match &mut self.capture {
            Some(capture) if capture.branches.contains_key(&stream) => {
                capture.recorded_on.insert(event, stream);
                let round = capture.recorded.entry(event).or_default();
                *round += 1;
                *round
            }
            _ => {
                self.recorded[event] += 1;
                self.recorded[event]
            }
        };
        self.queue(stream, Entry::Record(Mark { event, round }));
    }

    /// Lets later work on `stream` wait for the event's last record so far; its stream's capture goes on here.
    ///
    /// # Errors
    /// Captured work cannot wait for what is not captured.
    pub fn wait(&mut self, stream: usize, event: usize) -> Result<(), &'static str> {
        let mut round = self.recorded[event];
        if let Some(capture) = &mut self.capture {
            if let (Some(&captured), Some(&from)) =
                (capture.recorded.get(&event), capture.recorded_on.get(&event))
            {
                round = captured;
                capture.branches.entry(stream).or_default();
                let last = capture.branches.get(&from).and_then(VecDeque::back);
                if matches!(last, Some(Entry::Record(mark)) if mark.event == event) {
                    capture.joined.insert(from);
                }
            } else if capture.branches.contains_key(&stream) {
                return Err("captured work waits for an event from outside the capture");
            }
        }
        self.queue(stream, Entry::Wait(Mark { event, round }));
        Ok(())
    }

    fn queue(&mut self, stream: usize, entry: Entry<W>) {
        let captured = self.capture.as_mut().and_then(|capture| {
            if !matches!(entry, Entry::Record(_)) {
                capture.joined.remove(&stream);
            }
            capture.branches.get_mut(&stream)
        });
        captured.unwrap_or(&mut self.queues[stream]).push_back(entry);
    }

    /// Takes what comes next, drawn among the streams that can go on; none if no stream can.
    pub fn take_next(&mut self) -> Option<Entry<W>> {
        let ready: Vec<usize> = (0..self.queues.len()).filter(|&stream| self.can_go_on(stream)).collect();
        if ready.is_empty() {
            return None;
        }
        let stream = ready[self.draw(ready.len())];
        let entry = self.queues[stream].pop_front();
        if let Some(Entry::Record(mark)) = &entry {
            self.reached[mark.event] = mark.round;
        }
        entry
    }

    fn can_go_on(&self, stream: usize) -> bool {
        match self.queues[stream].front() {
            None => false,
            Some(Entry::Wait(mark)) => self.reached[mark.event] >= mark.round,
            Some(_) => true,
        }
    }

    /// A number below `bound`, another one at every call.
    pub fn draw(&mut self, bound: usize) -> usize {
        self.draws += 1;
        Draws::new(self.seed, Purpose::EpochOrder, 1, 0, 0).below(self.draws, bound)
    }

    /// Whether all work on `stream` is done.
    pub fn is_idle(&self, stream: usize) -> bool {
        self.queues[stream].is_empty()
    }

    /// Whether the event's last record is reached; an event that was never recorded is.
    pub fn is_reached(&self, event: usize) -> bool {
        self.reached[event] == self.recorded[event]
    }

    /// Whether work on `stream` is captured.
    pub fn is_captured(&self, stream: usize) -> bool {
        self.capture.as_ref().is_some_and(|capture| capture.branches.contains_key(&stream))
    }

    /// Forgets all work.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.reached.clone_from(&self.recorded);
        self.capture = None;
    }

    /// From here on work on `stream`, and on streams that wait for it, is captured.
    ///
    /// # Errors
    /// Something is captured already.
    pub fn begin_capture(&mut self, stream: usize) -> Result<(), &'static str> {
        if self.capture.is_some() {
            return Err("a capture is under way already");
        }
        self.capture = Some(Capture {
            origin: stream,
            branches: HashMap::from([(stream, VecDeque::new())]),
            recorded: HashMap::new(),
            joined: HashSet::new(),
            recorded_on: HashMap::new(),
        });
        Ok(())
    }

    /// Ends the capture that began on `stream`.
    ///
    /// # Errors
    /// None began there, or it left for another stream and did not come back.
    pub fn end_capture(&mut self, stream: usize) -> Result<Graph<W>, &'static str> {
        let capture = self.capture.take_if(|capture| capture.origin == stream);
        let capture = capture.ok_or("no capture began on this stream")?;
        let is_joined = |branch: &usize| *branch == stream || capture.joined.contains(branch);
        if !capture.branches.keys().all(is_joined) {
            return Err("captured work on another stream is not waited for");
        }
        let mut branches: Vec<_> = capture.branches.into_iter().collect();
        branches.sort_unstable_by_key(|(stream, _)| *stream);
        let branches = branches.into_iter().map(|(_, entries)| entries).collect();
        Ok(Graph { branches, events: self.recorded.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The work in the order in which it is done.
    fn order(streams: &mut Streams<u32>) -> Vec<u32> {
        std::iter::from_fn(|| streams.take_next())
            .filter_map(|entry| if let Entry::Work(work) = entry { Some(work) } else { None })
            .collect()
    }

    /// Two streams with two pieces of work each, the second stream's after the first's if `ordered`.
    fn two_streams(streams: &mut Streams<u32>, [first, second]: [usize; 2], event: Option<usize>) {
        streams.push(first, 1);
        streams.push(first, 2);
        if let Some(event) = event {
            streams.record(event, first);
            streams.wait(second, event).unwrap();
        }
        streams.push(second, 3);
        streams.push(second, 4);
    }

    fn orders(event: bool) -> HashSet<Vec<u32>> {
        let orders = (0..64).map(|seed| {
            let mut streams = Streams::new(seed);
            let both = [streams.add_stream(), streams.add_stream()];
            let event = event.then(|| streams.add_event());
            two_streams(&mut streams, both, event);
            order(&mut streams)
        });
        orders.collect()
    }

    #[test]
    fn without_events_streams_interleave_in_every_way() {
        let orders = orders(false);
        assert_eq!(orders.len(), 6);
        let place = |order: &[u32], work: u32| order.iter().position(|&w| w == work);
        assert!(orders.iter().all(|order| place(order, 1) < place(order, 2)));
        assert!(orders.iter().all(|order| place(order, 3) < place(order, 4)));
    }

    #[test]
    fn an_event_puts_two_streams_in_order() {
        assert_eq!(orders(true), HashSet::from([vec![1, 2, 3, 4]]));
    }

    #[test]
    fn an_event_that_was_never_recorded_is_no_obstacle() {
        let mut streams = Streams::new(0);
        let (stream, event) = (streams.add_stream(), streams.add_event());
        streams.wait(stream, event).unwrap();
        streams.push(stream, 1);
        assert!(streams.is_reached(event));
        assert_eq!(order(&mut streams), [1]);
        assert!(streams.is_idle(stream));
    }

    #[test]
    fn a_wait_is_for_the_records_before_it() {
        let mut streams = Streams::new(3);
        let (first, second, event) = (streams.add_stream(), streams.add_stream(), streams.add_event());
        streams.record(event, first);
        streams.wait(second, event).unwrap();
        streams.wait(first, event).unwrap();
        streams.record(event, second);
        streams.push(first, 1);
        streams.push(second, 2);
        assert_eq!(order(&mut streams).len(), 2);
        assert!(streams.is_reached(event));
    }

    #[test]
    fn a_graph_takes_in_the_streams_that_wait_for_it_and_keeps_their_order() {
        let mut streams = Streams::new(0);
        let both = [streams.add_stream(), streams.add_stream()];
        let [fork, join] = [streams.add_event(), streams.add_event()];
        streams.begin_capture(both[0]).unwrap();
        two_streams(&mut streams, both, Some(fork));
        streams.record(join, both[1]);
        streams.wait(both[0], join).unwrap();
        streams.push(both[0], 5);
        let graph = streams.end_capture(both[0]).unwrap();
        assert_eq!(order(&mut streams), [0; 0], "nothing was done");
        for seed in 0..16 {
            assert_eq!(order(&mut Streams::of(&graph, seed)), [1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn a_capture_begins_once_and_ends_where_it_began_with_all_its_streams() {
        let mut streams = Streams::new(0);
        let both = [streams.add_stream(), streams.add_stream()];
        let [fork, outside] = [streams.add_event(), streams.add_event()];
        assert!(streams.end_capture(both[0]).is_err());
        streams.record(outside, both[1]);
        streams.begin_capture(both[0]).unwrap();
        assert!(streams.begin_capture(both[1]).is_err());
        assert!(streams.wait(both[0], outside).is_err());
        assert!(streams.end_capture(both[1]).is_err());
        two_streams(&mut streams, both, Some(fork));
        assert!(streams.is_captured(both[1]));
        assert!(streams.end_capture(both[0]).unwrap_err().contains("not waited for"));
    }
}
