// A Node program beside shop.py: it adds reports for Python, sends mails for Python, and shows both
// queues on Bull Board at http://localhost:3000.
//
//   npm install bullmq ioredis express @bull-board/api @bull-board/express
//   REDIS_URL=redis://localhost:6379 node examples/bullmq/program.cjs
const { Queue, QueueEvents, Worker } = require("bullmq");
const { createBullBoard } = require("@bull-board/api");
const { BullMQAdapter } = require("@bull-board/api/bullMQAdapter");
const { ExpressAdapter } = require("@bull-board/express");
const express = require("express");

const options = {
  connection: { url: process.env.REDIS_URL },
  prefix: process.env.MILEPOST_REDIS_PREFIX ?? "{milepost}",
};
const reports = new Queue("reports", options);
const mails = new Queue("mails", options);
const events = new QueueEvents("reports", options);

new Worker("mails", async (job) => `sent to ${job.data.to}`, options);

const board = new ExpressAdapter();
createBullBoard({
  queues: [new BullMQAdapter(reports), new BullMQAdapter(mails)],
  serverAdapter: board,
});
const listening = express()
  .use(board.getRouter())
  .listen(Number(process.env.PORT ?? 3000), "127.0.0.1", async () => {
    console.log(`Bull Board: http://127.0.0.1:${listening.address().port}`);
    await events.waitUntilReady();
    const job = await reports.add("report", { shop: "acme", customers: 3 });
    console.log(`asked for report ${job.id}`);
    console.log(await job.waitUntilFinished(events));
  });
