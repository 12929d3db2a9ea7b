// A Node program with BullMQ, told line by line what to do: {"id", "op", …}; answers {"id", "is"}.
const { DelayedError, Job, Queue, QueueEvents, Worker } = require("bullmq");
const { createInterface } = require("node:readline");
const Redis = require("ioredis");

const [url, prefix] = process.argv.slice(2);
const connection = { url };
const queues = new Map();
const events = new Map();
const workers = [];
const seen = [];
const redis = new Redis(url);

const queue = (name) => {
  if (!queues.has(name)) queues.set(name, new Queue(name, { connection, prefix }));
  return queues.get(name);
};

const listen = async (name) => {
  if (!events.has(name)) {
    // From the first event on: it says that it is ready before it has asked for the next one.
    const listening = new QueueEvents(name, { connection, prefix, lastEventId: "0-0" });
    for (const event of ["active", "progress", "completed", "failed", "delayed"]) {
      listening.on(event, (args) => seen.push({ event, ...args }));
    }
    await listening.waitUntilReady();
    events.set(name, listening);
  }
  return events.get(name);
};

const recovers = async (job) => {
  const tries = await redis.incr(`${prefix}:tries:${job.id}`);
  if (tries < 2) throw new Error("once");
  return tries;
};

// What this program's own workers do, by the name of the job.
const handlers = {
  "node-adds": async (job) => {
    await job.updateProgress(50);
    return job.data.numbers.reduce((sum, number) => sum + number, 0);
  },
  "node-throws": async () => {
    throw new Error("the Node worker has thrown");
  },
  "node-recovers": recovers,
  "node-delays-itself": async (job, token) => {
    const [wait] = job.data.numbers;
    if (job.data.waited) return wait;
    await job.updateData({ ...job.data, waited: true });
    await new Promise((done) => setTimeout(done, 1000));
    await job.moveToDelayed(Date.now() + wait, token);
    throw new DelayedError();
  },
  "node-recovers-late": recovers,
};

const ops = {
  listen: async ({ queue: name }) => Boolean(await listen(name)),
  add: async ({ queue: name, kind, data, options }) =>
    (await queue(name).add(kind, data, options)).id,
  finished: async ({ queue: name, job }) => {
    const entry = await Job.fromId(queue(name), job);
    try {
      return { returned: await entry.waitUntilFinished(await listen(name), 30_000) };
    } catch (error) {
      return { threw: error.message };
    }
  },
  show: async ({ queue: name, job }) => {
    const entry = await Job.fromId(queue(name), job);
    if (!entry) return null;
    const { progress, returnvalue, failedReason, attemptsMade, stacktrace, name: kind } = entry;
    const state = await entry.getState();
    const telemetry = entry.opts.telemetry?.metadata;
    return { telemetry, state, kind, progress, returnvalue, failedReason, attemptsMade, stacktrace };
  },
  retry: async ({ queue: name, job }) => {
    await (await Job.fromId(queue(name), job)).retry();
    return true;
  },
  limit: async ({ queue: name, concurrency }) => {
    await queue(name).setGlobalConcurrency(concurrency);
    return true;
  },
  pause: async ({ queue: name }) => (await queue(name).pause(), true),
  resume: async ({ queue: name }) => (await queue(name).resume(), true),
  seen: async ({ job }) => seen.filter((each) => each.jobId === job),
  work: async ({ queue: name }) => {
    const worker = new Worker(name, (job, token) => handlers[job.name](job, token), { connection, prefix });
    await worker.waitUntilReady();
    workers.push(worker);
    return true;
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const told = JSON.parse(line);
  let answer;
  try {
    answer = { id: told.id, is: await ops[told.op](told) };
  } catch (error) {
    answer = { id: told.id, error: String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
lines.on("close", async () => {
  await Promise.all(workers.map((each) => each.close(true)));
  await Promise.all([...events.values(), ...queues.values()].map((each) => each.close()));
  process.exit(0);
});
