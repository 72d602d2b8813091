-- Who held which GPUs, and which there were. Nothing in here is ever changed or removed.

CREATE TABLE starts (
    job_uid TEXT NOT NULL, epoch BIGINT NOT NULL, seat BIGINT NOT NULL, node TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    model TEXT NOT NULL, pool TEXT NOT NULL, mode TEXT NOT NULL,
    gpu_milli BIGINT NOT NULL CHECK (gpu_milli > 0),
    tenant TEXT NOT NULL, environment TEXT NOT NULL, namespace TEXT NOT NULL,
    creator TEXT NOT NULL, cost_center TEXT NOT NULL, department TEXT NOT NULL,
    kind TEXT NOT NULL, job TEXT NOT NULL, priority_class TEXT NOT NULL,
    PRIMARY KEY (job_uid, epoch, seat, node, from_ms)
);
CREATE INDEX starts_in_order ON starts (from_ms);

CREATE TABLE ends (
    job_uid TEXT NOT NULL, epoch BIGINT NOT NULL, seat BIGINT NOT NULL, node TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    at_ms BIGINT NOT NULL CHECK (at_ms >= from_ms),
    why TEXT NOT NULL, estimated BIGINT NOT NULL CHECK (estimated IN (0, 1)),
    PRIMARY KEY (job_uid, epoch, seat, node, from_ms),
    FOREIGN KEY (job_uid, epoch, seat, node, from_ms)
        REFERENCES starts (job_uid, epoch, seat, node, from_ms)
);
CREATE INDEX ends_in_order ON ends (at_ms);
CREATE INDEX ends_of_node ON ends (node, at_ms);

CREATE TABLE corrections (
    job_uid TEXT NOT NULL, epoch BIGINT NOT NULL, seat BIGINT NOT NULL, node TEXT NOT NULL,
    from_ms BIGINT NOT NULL, written_ms BIGINT NOT NULL,
    at_ms BIGINT NOT NULL CHECK (at_ms >= from_ms),
    why TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (job_uid, epoch, seat, node, from_ms, written_ms),
    FOREIGN KEY (job_uid, epoch, seat, node, from_ms)
        REFERENCES starts (job_uid, epoch, seat, node, from_ms)
);

CREATE TABLE stock (
    node TEXT NOT NULL, model TEXT NOT NULL, from_ms BIGINT NOT NULL,
    gpu_milli BIGINT NOT NULL CHECK (gpu_milli > 0), pool TEXT NOT NULL,
    PRIMARY KEY (node, model, from_ms, gpu_milli)
);

CREATE TABLE stock_ends (
    node TEXT NOT NULL, model TEXT NOT NULL, from_ms BIGINT NOT NULL, gpu_milli BIGINT NOT NULL,
    at_ms BIGINT NOT NULL CHECK (at_ms >= from_ms),
    estimated BIGINT NOT NULL CHECK (estimated IN (0, 1)),
    PRIMARY KEY (node, model, from_ms, gpu_milli),
    FOREIGN KEY (node, model, from_ms, gpu_milli)
        REFERENCES stock (node, model, from_ms, gpu_milli)
);

CREATE TABLE busy (
    job_uid TEXT NOT NULL, epoch BIGINT NOT NULL, seat BIGINT NOT NULL, node TEXT NOT NULL,
    from_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL CHECK (until_ms > from_ms),
    milli BIGINT NOT NULL CHECK (milli BETWEEN 0 AND 1000),
    PRIMARY KEY (job_uid, epoch, seat, node, from_ms)
);

CREATE TABLE kept (
    from_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL CHECK (until_ms >= from_ms),
    PRIMARY KEY (until_ms, from_ms)
);

CREATE TABLE names (
    tenant TEXT NOT NULL, from_ms BIGINT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (tenant, from_ms)
);

CREATE TABLE told (
    tenant TEXT NOT NULL, month_ms BIGINT NOT NULL, threshold TEXT NOT NULL, at_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, month_ms, threshold)
);

CREATE TRIGGER starts_stay BEFORE UPDATE ON starts BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER starts_last BEFORE DELETE ON starts BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ends_stay BEFORE UPDATE ON ends BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ends_last BEFORE DELETE ON ends BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER corrections_stay BEFORE UPDATE ON corrections BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER corrections_last BEFORE DELETE ON corrections BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER stock_stays BEFORE UPDATE ON stock BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER stock_lasts BEFORE DELETE ON stock BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER stock_ends_stay BEFORE UPDATE ON stock_ends BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER stock_ends_last BEFORE DELETE ON stock_ends BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER busy_stays BEFORE UPDATE ON busy BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER busy_lasts BEFORE DELETE ON busy BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER kept_stays BEFORE UPDATE ON kept BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER kept_lasts BEFORE DELETE ON kept BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER names_stay BEFORE UPDATE ON names BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER names_last BEFORE DELETE ON names BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER told_stays BEFORE UPDATE ON told BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER told_lasts BEFORE DELETE ON told BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
