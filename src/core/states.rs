//! The rooms that nodes have now, each once, with what was found out about them. Nodes with
//! equal rooms are measured once.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::placement;
use crate::room::Room;
use crate::rooms::{Board, BoardId};

/// The rooms that nodes have now, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct States {
    index: BTreeMap<Room, usize>,
    all: Vec<State>,
    unused: Vec<usize>,
}

#[derive(Clone, Debug)]
struct State {
    room: Room,
    nodes: usize,
    /// What is lost in it to fragmentation, once that was asked.
    loss: Option<i64>,
    /// What each board has found out about it.
    memo: Vec<Memo>,
}

/// What a board has found out about a state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memo {
    known: bool,
    /// Tasks that find room in it, and what each is charged.
    pub(crate) count: u32,
    pub(crate) charge: u64,
    score: Option<i64>,
}

impl States {
    /// One more node has this room.
    pub(crate) fn enter(&mut self, room: Room) -> usize {
        if let Some(state) = self.index.get(&room) {
            self.all[*state].nodes += 1;
            return *state;
        }
        let number = self.unused.pop().unwrap_or(self.all.len());
        self.index.insert(room.clone(), number);
        match self.all.get_mut(number) {
            Some(state) => {
                (state.room, state.nodes, state.loss) = (room, 1, None);
                state.memo.clear();
            }
            None => self.all.push(State {
                room,
                nodes: 1,
                loss: None,
                memo: Vec::new(),
            }),
        }
        number
    }

    /// One node less has this room.
    pub(crate) fn leave(&mut self, number: usize) {
        let state = &mut self.all[number];
        state.nodes -= 1;
        if state.nodes == 0 {
            self.index.remove(&state.room);
            self.unused.push(number);
        }
    }

    /// The state that is this room, if some node has it.
    pub(crate) fn of(&self, room: &Room) -> Option<usize> {
        self.index.get(&room.clone().into_key()).copied()
    }

    pub(crate) fn room(&self, state: usize) -> &Room {
        &self.all[state].room
    }

    /// What a board finds in a state.
    pub(crate) fn look(
        &mut self,
        state: usize,
        (id, board): (BoardId, &Board),
        cluster: &Cluster,
    ) -> &mut Memo {
        let State { room, memo, .. } = &mut self.all[state];
        if memo.len() <= id {
            memo.resize(id + 1, Memo::default());
        }
        let memo = &mut memo[id];
        if !memo.known {
            let milli = room.milli_for(&board.ask);
            *memo = Memo {
                known: true,
                count: room.times(&board.task, &board.ask),
                charge: cluster.policy.charge(room.model(), milli),
                score: None,
            };
        }
        memo
    }

    /// By how much fragmentation grows when a task of a board takes its place in a state.
    pub(crate) fn score(
        &mut self,
        state: usize,
        (id, board): (BoardId, &Board),
        cluster: &Cluster,
    ) -> i64 {
        if let Some(score) = self.look(state, (id, board), cluster).score {
            return score;
        }
        let State {
            room, loss, memo, ..
        } = &mut self.all[state];
        let lost = *loss.get_or_insert_with(|| placement::loss(&cluster.policy, room));
        let wanted = board.wanted(&cluster.policy);
        let score = placement::score(&cluster.policy, (room, lost), wanted);
        memo[id].score = Some(score);
        score
    }
}
