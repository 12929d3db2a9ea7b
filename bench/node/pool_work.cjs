// What Piscina's threads run: the same as bench/pool_work.py.
const { threadId } = require("node:worker_threads");

const now = () => Number(process.hrtime.bigint());

exports.nothing = ({ number }) => number;

// Node 20 cannot say what one thread has used, so the turns are calibrated by the caller.
exports.burn = ({ turns }) => {
  let sum = 0;
  for (let turn = 0; turn < turns; turn += 1) sum = (sum * 31 + turn) | 0;
  return sum;
};

exports.nap = ({ seconds }) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
};

exports.neverReturn = ({ begun }) => {
  Atomics.store(begun, 0, 1);
  for (;;);
};

// Ends its own thread, and notes that moment; the next time, notes the moment and returns.
exports.dieOnce = ({ moments }) => {
  if (moments[0]) {
    moments[1] = process.hrtime.bigint();
    return;
  }
  exports.nap({ seconds: 0.05 });
  moments[0] = process.hrtime.bigint();
  process.exit(1);
};

exports.begin = () => ({ beganAt: now(), threadId });
