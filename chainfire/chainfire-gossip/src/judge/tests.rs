//! A judge before a registry of one service.

use super::*;

const NODE: NodeId = NodeId(1);

/// A judge, what is committed, and the time.
struct Court {
    judge: Judge,
    census: Census,
    down: BTreeSet<NodeId>,
    now: Duration,
}

impl Court {
    fn new(instances: u64) -> Self {
        let census = Census::from([("flashdns".to_owned(), (1..=instances).map(NodeId).collect())]);
        Self { judge: Judge::new(Rules::default()), census, down: BTreeSet::new(), now: Duration::ZERO }
    }

    /// Goes on until something other than a question comes up, while `node`s that `live` names answer at once.
    fn until_verdict(&mut self, live: &[NodeId]) -> Option<Step> {
        for _ in 0..2000 {
            for step in self.judge.step(self.now, &self.census, &self.down) {
                match step {
                    Step::Ask(question) if live.contains(&question.node) => {
                        self.judge.answered(self.now, question)
                    }
                    Step::Ask(question) => self.judge.silent(self.now, question),
                    verdict => return Some(verdict),
                }
            }
            self.now += Duration::from_millis(10);
        }
        None
    }
}

#[test]
fn node_that_answers_once_is_not_condemned_and_is_looked_at_again() {
    let mut court = Court::new(3);
    court.judge.hint(court.now, NODE);
    assert_eq!(court.until_verdict(&[NODE]), None);
    assert_eq!(
        court.until_verdict(&[]),
        Some(Step::Propose(NODE, Verdict::Failed)),
        "gossip still doubts it"
    );
}

#[test]
fn proposal_is_made_again_until_it_is_committed_and_taken_back_when_the_node_answers() {
    let mut court = Court::new(3);
    court.judge.hint(court.now, NODE);
    assert_eq!(court.until_verdict(&[]), Some(Step::Propose(NODE, Verdict::Failed)));
    court.now += Duration::from_millis(1);
    assert_eq!(court.until_verdict(&[]), Some(Step::Propose(NODE, Verdict::Failed)));
    court.down.insert(NODE);
    assert_eq!(court.until_verdict(&[]), None);
    assert_eq!(court.until_verdict(&[NODE]), Some(Step::Propose(NODE, Verdict::Alive)));
    court.down.clear();
    assert_eq!(court.until_verdict(&[]), None);
    assert!(court.judge.cases.is_empty());
}

#[test]
fn node_that_returns_before_its_verdict_is_committed_is_not_condemned_again() {
    let mut court = Court::new(3);
    court.judge.hint(court.now, NODE);
    assert_eq!(court.until_verdict(&[]), Some(Step::Propose(NODE, Verdict::Failed)));
    court.judge.returned(court.now, NODE);
    assert_eq!(court.until_verdict(&[]), None);
    court.down.insert(NODE);
    assert_eq!(
        court.until_verdict(&[NODE]),
        Some(Step::Propose(NODE, Verdict::Alive)),
        "the proposal came through"
    );
}

#[test]
fn nobody_is_condemned_unasked_whatever_the_rules() {
    let mut court = Court::new(3);
    court.judge = Judge::new(Rules { questions: 0, again_after: Duration::ZERO, ..Rules::default() });
    court.judge.hint(court.now, NODE);
    assert_eq!(court.until_verdict(&[NODE]), None);
    assert_eq!(court.until_verdict(&[]), Some(Step::Propose(NODE, Verdict::Failed)));
}

#[test]
fn half_of_a_service_stays_however_many_are_silent() {
    let mut court = Court::new(4);
    (1..=4).for_each(|node| court.judge.hint(court.now, NodeId(node)));
    for _ in 0..30 {
        if let Some(Step::Propose(node, Verdict::Failed)) = court.until_verdict(&[]) {
            court.down.insert(node);
        }
    }
    assert_eq!(court.down.len(), 2);
}

#[test]
fn question_whose_end_was_noticed_late_does_not_count() {
    let mut court = Court::new(3);
    court.judge.hint(court.now, NODE);
    for _ in 0..100 {
        for step in court.judge.step(court.now, &court.census, &court.down) {
            let Step::Ask(question) = step else { panic!("{step:?}") };
            court.judge.silent(court.now + Duration::from_secs(5), question);
        }
        court.now += Duration::from_secs(5);
    }
}

#[test]
fn new_judge_takes_over_what_is_committed() {
    let mut court = Court::new(3);
    court.down.insert(NODE);
    assert_eq!(court.until_verdict(&[NODE]), Some(Step::Propose(NODE, Verdict::Alive)));
}

#[test]
fn nobody_asks_after_a_node_that_is_of_no_interest() {
    let mut court = Court::new(3);
    court.judge.hint(court.now, NODE);
    court.judge.forget(NODE);
    assert_eq!(court.judge.step_at(), None);
}

#[test]
fn farewell_needs_no_proof() {
    let mut court = Court::new(1);
    court.judge.left(court.now, NODE);
    assert_eq!(court.until_verdict(&[NODE]), Some(Step::Propose(NODE, Verdict::Left)));
}

#[test]
fn node_that_flaps_is_kept_down_for_longer() {
    let mut court = Court::new(3);
    let flap = |court: &mut Court| {
        court.judge.hint(court.now, NODE);
        assert_eq!(court.until_verdict(&[]), Some(Step::Propose(NODE, Verdict::Failed)));
        court.down.insert(NODE);
        let failed_at = court.now;
        while court.until_verdict(&[NODE]) != Some(Step::Propose(NODE, Verdict::Alive)) {}
        court.down.clear();
        court.judge.step(court.now, &court.census, &court.down);
        court.now - failed_at
    };
    let times = (0..4).map(|_| flap(&mut court)).collect::<Vec<_>>();
    assert!(times[2] < Duration::from_secs(2) && times[3] > Duration::from_secs(20), "{times:?}");
}
