// BullMQ for Node's own Worker on a queue of no-op jobs: prints the seconds from its start to the end.
const path = require("node:path");
const bullmq = path.join(__dirname, "../../tests/node/node_modules/bullmq");
const { Worker } = require(bullmq);

const [url, prefix, name, jobs, concurrency] = process.argv.slice(2);
let left = Number(jobs);
const began = process.hrtime.bigint();
const worker = new Worker(name, async (job) => job.data.number, {
  connection: { url }, prefix, concurrency: Number(concurrency), removeOnComplete: { count: 10 },
});
worker.on("completed", async () => {
  left -= 1;
  if (left === 0) {
    console.log(Number(process.hrtime.bigint() - began) / 1e9);
    await worker.close();
    process.exit(0);
  }
});
