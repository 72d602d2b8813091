//! Every kind of wrong line.

/// Line 5, what is wrong with it, and the remedy.
pub(crate) const WRONG_LINES: [(&str, &str, &str); 61] = [
    (
        "sumbit red/eval gpu=1",
        "sumbit: is no verb",
        "use node, node-down, node-up, device-down, device-up, tenant, policy, pod, pod-gone, submit, finish, withdraw, hold, resume, fail or at",
    ),
    (
        "submit",
        "submit: names nothing",
        "write: submit NAME [key=value …]",
    ),
    (
        "submit red/eval gpu",
        "gpu: has no value",
        "write gpu=VALUE",
    ),
    (
        "submit red/eval gpu=1 gpu=2",
        "gpu: is set twice",
        "keep one of the two",
    ),
    (
        "submit red/eval gpus=1",
        "gpus: is not known here",
        "use gang, gpu, share, cpu, memory, gpu-memory, priority, for, max, expected, checkpoint, model, profile, select:, tolerate:, other:, preemptible, hold, present, work",
    ),
    (
        "submit red-eval gpu=1",
        "job: `red-eval` names no job",
        "write TENANT/JOB, for example red/train",
    ),
    (
        "submit red/eval gpu=one",
        "gpu: `one` is not an amount; write a number such as 2, 0.5, 500m or 64Gi",
        "for example: gpu=2",
    ),
    (
        "submit red/eval gpu=0.0001",
        "gpu: `0.0001` is finer than a thousandth, the smallest amount of gpu there is",
        "for example: gpu=2",
    ),
    (
        "node c gpu=1E",
        "gpu: `1E` is more than any node can have",
        "for example: gpu=2",
    ),
    (
        "submit red/eval memory=1Ti",
        "submit: asks only for what no node names, so it would never wait",
        "name the resource in a node line",
    ),
    (
        "submit red/eval gang=-1 gpu=1",
        "gang: `-1` is no whole number in range",
        "for example: gang=8",
    ),
    (
        "submit red/eval priority=high gpu=1",
        "priority: `high` is no whole number in range",
        "for example: priority=8",
    ),
    (
        "submit red/eval gpu=1 for=soon",
        "for: `soon` is no time: expected number at 0",
        "write for example 90s, 1h30m or 250ms",
    ),
    (
        "at soon",
        "at: `soon` is no time: expected number at 0",
        "write for example 90s, 1h30m or 250ms",
    ),
    (
        "at 4s",
        "at: 4s is before 5s, which has been reached",
        "time only moves on",
    ),
    (
        "at 6s now=yes",
        "now: is not known here",
        "this line takes no settings",
    ),
    (
        "policy order=lifo",
        "order: `lifo` is not known",
        "use order=drf, fifo, priority, srtf, srsf, las",
    ),
    (
        "policy order=fifo",
        "policy: holds for the whole script",
        "write it above all nodes and jobs",
    ),
    (
        "node c,,d gpu=1",
        "node: a name is empty",
        "write names with single commas between them",
    ),
    (
        "tenant blue,blue",
        "tenant: blue is named twice",
        "name it once",
    ),
    (
        "submit red/a/b gpu=1",
        "job: `red/a/b` names no job",
        "write TENANT/JOB, for example red/train",
    ),
    (
        "submit red/train gpu=1",
        "submit: red/train has been submitted before",
        "give it another name",
    ),
    (
        "policy orders=fifo",
        "orders: is not known here",
        "use order, place, preemption, min-runtime, loss-budget, fair-share, grace, reserve-after, half-life, topology, mix, value:, class:, cluster-wide, protected",
    ),
    (
        "tenant blue weight=1/0",
        "weight: `1/0` is not a weight; write a whole number or a fraction such as 2, 1/2 or 0.5",
        "for example: weight=2",
    ),
    (
        "tenant blue guaranteed=4",
        "guaranteed: `4` is no amount",
        "for example: guaranteed=gpu:2,cpu:4",
    ),
    (
        "tenant blue guaranteed=tpu:4",
        "guaranteed: `tpu:4` is no amount",
        "for example: guaranteed=gpu:2,cpu:4",
    ),
    (
        "tenant blue limit=memory:64Gi",
        "limit: no node names memory, so this limit could never bind",
        "add memory= to a node line",
    ),
    (
        "tenant blue owner=red",
        "owner: is not known here",
        "use parent, weight, guaranteed, limit, lend, exhausted, pool, deferred",
    ),
    (
        "node c disk=4",
        "disk: is not known here",
        "use gpu, cpu, memory, gpu-memory, model, mode, label:, taint:, other:",
    ),
    (
        "node-down c",
        "node: no node is called c",
        "name it in a node line above",
    ),
    (
        "finish red/eval",
        "finish: no job is called red/eval",
        "submit it in a line above",
    ),
    (
        "tenant blue parent=green",
        "parent: no tenant is called green",
        "name it in a tenant line above",
    ),
    (
        "tenant blue exhausted=1",
        "exhausted: `1` is not known",
        "use exhausted=yes, no",
    ),
    (
        "policy place=anywhere",
        "place: `anywhere` is not known",
        "use place=prorata, fgd, best-fit, first-fit, random:SEED",
    ),
    (
        "policy place=random:x",
        "place: `x` is no whole number in range",
        "for example: place=random:8",
    ),
    (
        "policy preemption=never",
        "preemption: `never` is not known",
        "use preemption=on, off",
    ),
    (
        "policy min-runtime=10",
        "min-runtime: `10` is no time: time unit needed, for example 10sec or 10ms",
        "write for example 90s, 1h30m or 250ms",
    ),
    (
        "policy loss-budget=1h",
        "loss-budget: `1h` is no whole number in range",
        "for example: loss-budget=8",
    ),
    (
        "policy value:H100=dear",
        "value: `dear` is no value of a GPU",
        "for example: value:H100=1.5",
    ),
    (
        "policy class:high=x",
        "class: `x` is no whole number in range",
        "for example: class:high=8",
    ),
    (
        "policy cluster-wide=high",
        "cluster-wide: no class is called high",
        "give it a value: class:high=100",
    ),
    (
        "policy protected=high,high",
        "protected: high is named twice",
        "name it once",
    ),
    (
        "policy mix=8",
        "mix: `8` is no amount",
        "for example: mix=gpu:2,cpu:4",
    ),
    (
        "policy mix=gpu:1*few",
        "mix: `few` is no whole number in range",
        "for example: mix=gpu:1*8",
    ),
    (
        "node c gpu=1 mode=shared",
        "mode: `shared` is not known",
        "use mode=exclusive, fractional, timeslice-4, mps-4, mig:1g.10gb+3g.40gb",
    ),
    (
        "node c gpu=1 mode=mps-0",
        "mode: a card has no 0 slots",
        "write a number from 1 to 1000",
    ),
    (
        "node c gpu=1 mode=mps-x",
        "mode: `x` is no whole number in range",
        "for example: mode=mps-8",
    ),
    (
        "node c gpu=1 mode=mig:8g.80gb",
        "mode: `8g.80gb` is no MIG profile",
        "for example: mode=mig:1g.10gb+1g.10gb+3g.40gb",
    ),
    (
        "node c gpu=1 taint:a=b:PreferNoSchedule",
        "taint: `PreferNoSchedule` is no effect that repels tasks",
        "for example: taint:a=b:NoExecute",
    ),
    (
        "node c gpu=1 label:=b",
        "label:: is not known here",
        "use gpu, cpu, memory, gpu-memory, model, mode, label:, taint:, other:",
    ),
    (
        "device-down a",
        "device: `a` names no device",
        "write NODE[INDEX], for example a[0]",
    ),
    (
        "device-down a[4]",
        "device: a has 4 devices",
        "count devices from 0",
    ),
    (
        "device-up c[0]",
        "node: no node is called c",
        "name it in a node line above",
    ),
    (
        "pod p gpu=1",
        "on: is not said",
        "name the pod's node: on=a",
    ),
    (
        "pod-gone p",
        "pod-gone: no pod is called p",
        "name it in a pod line above",
    ),
    (
        "submit red/eval gpu=1 share=500m",
        "share: stands beside gpu=",
        "keep one of the two",
    ),
    (
        "submit red/eval share=1",
        "share: `1` is no share of one GPU",
        "for example: share=250m",
    ),
    (
        "submit red/eval gpu=1 preemptible=maybe",
        "preemptible: `maybe` is not known",
        "use preemptible=yes, no",
    ),
    (
        "submit red/eval gpu=1 hold=forever",
        "hold: `forever` is not known",
        "use hold=user, dependency",
    ),
    (
        "submit red/eval gpu=1 hold=user present=1",
        "present: red/eval is held otherwise",
        "keep hold= or present=",
    ),
    (
        "submit red/eval gpu=1 checkpoint=often",
        "checkpoint: `often` is no time: expected number at 0",
        "write for example 90s, 1h30m or 250ms",
    ),
];
