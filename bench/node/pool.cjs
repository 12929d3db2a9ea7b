// One measurement of Piscina, named by the first argument; prints what it found as JSON.
const path = require("node:path");
const fs = require("node:fs");
const { Piscina } = require("piscina");

const CPU_MS = 10;
const MOST_WAITING = 100;

const open = (children) => new Piscina({
  filename: path.join(__dirname, "pool_work.cjs"),
  minThreads: 1, maxThreads: children, idleTimeout: 30_000, maxQueue: MOST_WAITING,
  concurrentTasksPerWorker: 1,
});
const ms = (from, to) => Number(to - from) / 1e6;
const now = () => process.hrtime.bigint();
const rest = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

// All threads are there, and none of them for the first time.
const warm = (pool, children) => Promise.all(
  Array.from({ length: children }, () => pool.run({ seconds: 0.5 }, { name: "nap" })),
);

// Jobs a second, and what each has used of a core.
const feed = (pool, name, told, jobs) => new Promise((resolve, reject) => {
  const began = now();
  const used = process.cpuUsage();
  let sent = 0;
  let left = jobs;
  const more = () => {
    while (sent < jobs && pool.queueSize < MOST_WAITING) {
      sent += 1;
      pool.run(told, { name }).then(ended, reject);
    }
  };
  const ended = () => {
    left -= 1;
    if (left > 0) { more(); return; }
    const { user, system } = process.cpuUsage(used);
    resolve({ rate: jobs / (ms(began, now()) / 1000), cpu: (user + system) / 1000 / jobs });
  };
  more();
});

// How many turns take CPU_MS where all threads turn at once, as they will.
const calibrate = async (pool, children) => {
  let turns = 1_000_000;
  for (let round = 0; round < 3; round += 1) {
    const { cpu } = await feed(pool, "burn", { turns }, 20 * children);
    turns = Math.round(turns * (CPU_MS / cpu));
  }
  return turns;
};

const measures = {
  async rate(work, jobs, children) {
    const pool = open(Number(children));
    await warm(pool, Number(children));
    const told = work === "burn" ? { turns: await calibrate(pool, Number(children)) } : { number: 1 };
    return feed(pool, work, told, Number(jobs));
  },

  async cancel(samples) {
    const pool = open(1);
    const found = { "caller's answer": [], "thread's end": [], "next job": [] };
    for (let sample = 0; sample < Number(samples); sample += 1) {
      const begun = new Int32Array(new SharedArrayBuffer(4));
      const asking = new AbortController();
      const task = pool.run({ begun }, { name: "neverReturn", signal: asking.signal });
      while (!Atomics.load(begun, 0)) await rest(0.002);
      await rest(0.02);
      const thread = pool.threads[0];
      const exited = new Promise((resolve) => { thread.once("exit", () => resolve(now())); });
      const asked = now();
      asking.abort();
      await task.catch(() => {});
      found["caller's answer"].push(ms(asked, now()));
      const { beganAt } = await pool.run({}, { name: "begin" });
      found["thread's end"].push(ms(asked, await exited));
      found["next job"].push(ms(asked, BigInt(beganAt)));
    }
    return found;
  },

  async death(samples) {
    const pool = open(2);
    const found = { told: [], again: [], siblings: 0 };
    for (let sample = 0; sample < Number(samples); sample += 1) {
      const moments = new BigInt64Array(new SharedArrayBuffer(16));
      const sibling = pool.run({ seconds: 0.6 }, { name: "nap" });
      const dies = () => pool.run({ moments }, { name: "dieOnce" });
      await dies().catch(() => {});
      found.told.push(ms(moments[0], now()));
      await dies();
      found.again.push(ms(moments[0], moments[1]));
      found.siblings += await sibling.then(() => 1, () => 0);
    }
    return found;
  },

  // From the making of the pool to the first line of its first job; and of one beside a busy one.
  async child() {
    const opened = now();
    const pool = open(2);
    const first = await pool.run({}, { name: "begin" });
    pool.run({ seconds: 1.5 }, { name: "nap" });
    await rest(0.05);
    const asked = now();
    const second = await pool.run({}, { name: "begin" });
    return { first: ms(opened, BigInt(first.beganAt)), second: ms(asked, BigInt(second.beganAt)) };
  },

  // What each thread adds to the process.
  async weight(children) {
    const before = weigh();
    await warm(open(Number(children)), Number(children));
    const after = weigh();
    return Object.fromEntries(
      Object.keys(after).map((name) => [name, (after[name] - before[name]) / Number(children)]),
    );
  },

  version: async () => ({ piscina: Piscina.version, node: process.versions.node }),
};

const weigh = () => {
  const held = Object.fromEntries(
    fs.readFileSync("/proc/self/smaps_rollup", "utf8").split("\n").slice(1, -1)
      .map((line) => line.split(/:\s+/)).map(([name, size]) => [name, parseInt(size, 10)]),
  );
  return { rss: held.Rss, pss: held.Pss, private: held.Private_Clean + held.Private_Dirty };
};

const [measure, ...told] = process.argv.slice(2);
measures[measure](...told).then((found) => {
  console.log(JSON.stringify(found));
  process.exit(0);
});
