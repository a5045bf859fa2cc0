//! Traces: when each node is up, when it departs, when domains fail and disks rot. The same for every policy.

/// A small generator with a seed: the same trace on every machine.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From zero up to one.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn hit(&mut self, share: f64) -> bool {
        self.share() < share
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// What a neighbourhood is like. Times in days.
#[derive(Clone, Copy)]
pub struct Profile {
    pub name: &'static str,
    pub outages_a_day: f64,
    pub departure: f64,
    pub domain_outage: f64,
    pub disaster: f64,
    pub killed: f64,
}

pub const PROFILES: [Profile; 3] = [
    Profile { name: "mild", outages_a_day: 0.2, departure: 365.0, domain_outage: 60.0, disaster: 0.005, killed: 0.5 },
    Profile { name: "harsh", outages_a_day: 0.5, departure: 90.0, domain_outage: 20.0, disaster: 0.05, killed: 0.7 },
    Profile { name: "clean", outages_a_day: 0.2, departure: 365.0, domain_outage: 60.0, disaster: 0.0, killed: 0.0 },
];

/// Ticks of ten minutes in an hour.
const TICKS: usize = 6;
/// Hours from a departure to the exclusion, and to the fresh node.
pub const EXCLUDED_AFTER: usize = 168;
pub const REPLACED_AFTER: usize = EXCLUDED_AFTER + 24;

/// What happens to a node's data in an hour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is destroyed; the node is silent from now on.
    Death(u16),
    /// A fresh node has the seat, with nothing.
    Fresh(u16),
    /// Some of its fragments rot, and it says so.
    Rot(u16, u64),
}

pub struct Trace {
    pub domains: Vec<u16>,
    pub domain_count: usize,
    pub hours: usize,
    /// Ticks up, by hour and node.
    pub up: Vec<Vec<u8>>,
    pub events: Vec<Vec<Event>>,
    pub departures: usize,
}

pub fn trace(nodes: usize, hours: usize, profile: &Profile, seed: u64) -> Trace {
    let mut chance = Chance::new(seed);
    let domain_count = match nodes {
        0..10 => nodes,
        10..100 => 5,
        _ => 10,
    };
    let domains: Vec<u16> = (0..nodes).map(|node| (node % domain_count) as u16).collect();
    let ticks = hours * TICKS;
    let tick_of = |days: f64| (days * 24.0 * TICKS as f64) as usize;
    // By domain: when an outage begins, and whether it is a disaster. A node alone is no domain.
    let mut domain_events: Vec<Vec<(usize, bool)>> = vec![Vec::new(); domain_count];
    if domain_count < nodes {
        for events in &mut domain_events {
            let mut at = tick_of(chance.exponential(profile.domain_outage));
            while at < ticks {
                events.push((at, chance.hit(profile.disaster)));
                at += 1 + tick_of(chance.exponential(profile.domain_outage));
            }
        }
    }
    let mut up = vec![vec![0u8; nodes]; hours];
    let mut events = vec![Vec::new(); hours];
    let mut departures = 0;
    for node in 0..nodes {
        let mut down = vec![false; ticks];
        let mut mark = |from: usize, length: usize| {
            (from..(from + length).min(ticks)).for_each(|tick| down[tick] = true);
        };
        let mut at = tick_of(chance.exponential(1.0 / profile.outages_a_day));
        while at < ticks {
            let mean = match chance.share() {
                x if x < 0.80 => 1.0 / 72.0,
                x if x < 0.95 => 4.0 / 24.0,
                _ => 1.0,
            };
            let length = 1 + tick_of(chance.exponential(mean));
            mark(at, length);
            at += length + tick_of(chance.exponential(1.0 / profile.outages_a_day));
        }
        let mut deadly = Vec::new();
        for (at, disaster) in &domain_events[usize::from(domains[node])] {
            if *disaster && chance.hit(profile.killed) {
                deadly.push(*at);
            } else if chance.hit(0.9) {
                mark(*at, 3 * TICKS);
            }
        }
        let mut born = 0;
        loop {
            let natural = born + tick_of(chance.exponential(profile.departure));
            let dies = deadly.iter().copied().filter(|at| *at >= born).fold(natural, usize::min);
            if dies >= ticks {
                break;
            }
            departures += 1;
            let hour = dies / TICKS;
            events[hour].push(Event::Death(node as u16));
            mark(dies, REPLACED_AFTER * TICKS);
            if hour + REPLACED_AFTER < hours {
                events[hour + REPLACED_AFTER].push(Event::Fresh(node as u16));
            }
            born = (hour + REPLACED_AFTER) * TICKS;
        }
        let mut at = chance.exponential(180.0);
        while tick_of(at) < ticks {
            events[tick_of(at) / TICKS].push(Event::Rot(node as u16, chance.next()));
            at += chance.exponential(180.0);
        }
        for (tick, down) in down.iter().enumerate() {
            up[tick / TICKS][node] += u8::from(!down);
        }
    }
    Trace { domains, domain_count, hours, up, events, departures }
}
