// Counts checks and tells the failed ones.

let passed = 0;
let failed = 0;

/** Runs one check and goes on after a failure. */
exports.check = async (name, body) => {
  try {
    await body();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.stack ?? error}`);
  }
};

exports.finish = () => {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
};

/** A fetch that notes the answers, for what an SDK does not tell of. */
exports.recordingFetch = () => {
  const answers = [];
  const usual = globalThis.fetch;
  const recording = async (input, init) => {
    const answer = await usual(input, init);
    answers.push({ path: new URL(String(input)).pathname, status: answer.status });
    return answer;
  };
  return { answers, fetch: recording };
};

/** 24 identities that differ in every trait a segment of publication.json looks at. */
exports.crowd = (run) =>
  Array.from({ length: 24 }, (_, n) => ({
    identifier: `crowd-${n}-${run}`,
    traits: {
      plan: ['free', 'team', 'enterprise'][n % 3],
      age: 9 + n,
      email: n % 4 ? `person${n}@example.org` : `person${n}@example.com`,
    },
  }));

/** A name for this run, so that identities are new although servers keep them. */
exports.run = Date.now().toString(36);
