//! Nodes, and the cards in them.

use askama::Template;

use crate::Error;
use crate::frame::{Frame, Here, Tone};

/// Nodes, and the cards in them.
#[derive(Clone, Debug, Default)]
pub struct Gpus {
    /// What is the same on every page.
    pub frame: Frame,
    /// What there is of each model.
    pub models: Vec<Model>,
    /// Each node; none where its reader may not see them.
    pub nodes: Vec<Node>,
    /// Nodes beyond those shown.
    pub more: usize,
    /// Cards of which something is wrong, worst first.
    pub ill: Vec<(String, Card)>,
}

/// What there is of a model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The product's name.
    pub name: String,
    /// How many nodes have it.
    pub nodes: String,
    /// How many cards there are.
    pub cards: String,
    /// How many of them are healthy.
    pub healthy: String,
    /// Whether that is all.
    pub tone: Tone,
}

/// A node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it takes work, in words.
    pub state: String,
    /// Whether that is good.
    pub tone: Tone,
    /// Its model of GPU.
    pub model: String,
    /// How its GPUs are to be divided.
    pub partition: String,
    /// The driver's version.
    pub driver: String,
    /// GPUs that it offers, for people.
    pub offered: String,
    /// GPUs that jobs hold there.
    pub held: String,
    /// The same in thousandths of what it offers.
    pub per_mille: u64,
    /// Its cards.
    pub cards: Vec<Card>,
}

/// A card.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// Its number on the node.
    pub index: u32,
    /// Its health, in a word.
    pub health: String,
    /// Whether that is good.
    pub tone: Tone,
    /// Its model.
    pub model: String,
    /// Its memory.
    pub memory: String,
    /// How it shows itself.
    pub mode: String,
    /// Why it is not healthy.
    pub message: String,
}

#[derive(Template)]
#[template(path = "gpus.html")]
struct Page<'a> {
    frame: &'a Frame,
    here: Here,
    title: &'static str,
    model: &'a Gpus,
}

impl Gpus {
    /// The page.
    ///
    /// # Errors
    /// None that a sound model meets.
    pub fn html(&self) -> Result<String, Error> {
        let page = Page {
            frame: &self.frame,
            here: Here::Gpus,
            title: Here::Gpus.title(),
            model: self,
        };
        Ok(page.render()?)
    }
}
