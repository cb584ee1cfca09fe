//! The script of a simulation: everyone connects, all is well for a while, then everything goes wrong, then all is well
//! again.

use crate::counts::Counts;
use crate::event::Event;
use crate::people::People;
use crate::world::World;
use crate::{Plan, Report};

/// The seconds in which all clients connect.
const ARRIVAL_SECONDS: u64 = 300;
/// How long a client stays on average before its network fails, in seconds.
const STAY_SECONDS: u64 = 1_800;
/// One in so many publications is for a room.
const ROOM_EVERY: u64 = 4;
/// How many requests between objects in a thousand are lost while everything goes wrong, and as many answers.
const LOSSES: u64 = 5;
/// How many steps in a thousand cause an object to sleep, and a relay to crash.
const SLEEPS: u64 = 100;
const CRASHES: u64 = 30;
/// The time within which the objects of a deploy end, in milliseconds.
const DEPLOY: std::ops::Range<u64> = 0..20_000;
/// The time until everyone has reconnected: failed requests are repeated after half a minute at most.
const CALM: u64 = 180_000;

pub(crate) struct Script {
    plan: Plan,
    world: World,
    before: Counts,
    phases: Vec<(&'static str, Counts)>,
}

impl Script {
    pub(crate) fn new(plan: Plan) -> Script {
        let world = World::new(People::new(plan.sockets), plan.relays, plan.seed);
        Script { plan, world, before: Counts::default(), phases: Vec::new() }
    }

    pub(crate) fn run(mut self, mut tell: impl FnMut(&str, &Counts)) -> Report {
        self.arrive();
        self.end("everyone comes", &mut tell);
        (0..self.plan.steps).for_each(|_| self.step());
        self.end("publications, nobody comes or goes", &mut tell);
        for _ in 0..self.plan.steps {
            self.churn();
            self.step();
        }
        self.end("publications, people come and go", &mut tell);
        (0..self.plan.steps).for_each(|step| self.trouble(step));
        self.calm_down();
        self.end("losses, sleeps, crashes, a deploy", &mut tell);
        self.world.people.check_all();
        Report { phases: self.phases, mistakes: self.world.people.mistakes }
    }

    fn end(&mut self, name: &'static str, tell: &mut impl FnMut(&str, &Counts)) {
        let phase = self.world.counts.since(&self.before);
        self.before = self.world.counts;
        tell(name, &phase);
        self.phases.push((name, phase));
    }

    fn arrive(&mut self) {
        for person in 0..self.plan.sockets as u32 {
            self.world.later(0..ARRIVAL_SECONDS * 1_000, Event::Come { person });
        }
        self.world.advance(ARRIVAL_SECONDS * 1_000 + CALM);
    }

    fn step(&mut self) {
        let places = self.world.people.places();
        let is_for_room = self.world.random.within(0..ROOM_EVERY) == 0;
        let place = if is_for_room { 1 + self.world.random.index(places - 1) } else { 0 };
        self.world.later(0..1, Event::Publish { place });
        self.world.advance(self.plan.interval);
    }

    /// Clients that leave or return within a step.
    fn churn(&mut self) {
        let expected = self.plan.sockets as u64 * self.plan.interval;
        let scale = STAY_SECONDS * 1_000;
        let rest = u64::from(self.world.random.within(0..scale) < expected % scale);
        for _ in 0..expected / scale + rest {
            let person = self.world.random.index(self.plan.sockets) as u32;
            if self.world.people.is_connected(person) {
                let connection = self.world.people.connection(person);
                self.world.later(0..self.plan.interval, Event::Leave { person, connection });
            }
        }
    }

    fn trouble(&mut self, step: usize) {
        self.world.losses = LOSSES;
        let relays = self.plan.relays as usize;
        if self.world.random.happens(SLEEPS) {
            let object = self.world.random.index(relays + 1);
            self.world.later(0..self.plan.interval, Event::Sleep { object });
        }
        if self.world.random.happens(CRASHES) {
            let object = 1 + self.world.random.index(relays);
            self.world.later(0..self.plan.interval, Event::Crash { object });
        }
        if step == self.plan.steps / 4 {
            self.world.later(0..self.plan.interval, Event::Crash { object: 0 });
        }
        if step == self.plan.steps / 2 {
            (0..=relays).for_each(|object| self.world.later(DEPLOY, Event::Crash { object }));
        }
        self.churn();
        self.step();
    }

    /// All goes well again: everyone reconnects and receives one more publication.
    fn calm_down(&mut self) {
        self.world.losses = 0;
        self.world.advance(CALM);
        for place in 0..self.world.people.places().min(3) {
            self.world.later(0..1, Event::Publish { place });
        }
        self.world.advance(CALM);
    }
}
