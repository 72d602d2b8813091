//! What is the same on every page.

/// What is the same on every page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// What comes before each path: nothing, or `/` and a word.
    pub root: String,
    /// Which cluster, as its reader knows it.
    pub cluster: String,
    /// Whose jobs are shown: `every tenant`, or names.
    pub sees: String,
    /// When the picture was taken, for people: `14:02:07 UTC`.
    pub as_of: String,
    /// The same for programs (RFC 3339).
    pub moment: String,
    /// What is not shown, and why.
    pub notes: Vec<Note>,
}

/// What is not shown, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// What is missing.
    pub without: String,
    /// Why.
    pub why: String,
}

/// Which page this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// What there is, who holds it, who waits.
    Overview,
    /// Every job.
    Queue,
    /// What each tenant holds beside what is due to it.
    Share,
    /// Nodes and cards.
    Gpus,
    /// Who they are, and what they cost.
    Tenants,
}

impl Here {
    /// Every page that the navigation names, in its order.
    pub const ALL: [Self; 5] = [
        Self::Overview,
        Self::Queue,
        Self::Share,
        Self::Gpus,
        Self::Tenants,
    ];

    /// What the navigation calls it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Queue => "Queue",
            Self::Share => "Fair share",
            Self::Gpus => "Nodes and GPUs",
            Self::Tenants => "Tenants",
        }
    }

    /// Its path below the root.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Queue => "/queue",
            Self::Share => "/share",
            Self::Gpus => "/gpus",
            Self::Tenants => "/tenants",
        }
    }
}

/// What a colour means. It never says anything that no word beside it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It takes its time.
    Wait,
    /// Somebody must do something.
    Bad,
    /// Of less interest.
    Dim,
}

impl Tone {
    /// Its class in the style sheet.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Wait => "wait",
            Self::Bad => "bad",
            Self::Dim => "dim",
        }
    }
}
