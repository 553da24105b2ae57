// What every script here has in common: its job, its word to the test, and how it ends.

import { createInterface } from 'node:readline'

/** What the test asks for: the JSON in the first argument. */
export const job = JSON.parse(process.argv[2])

/** Tell the test something: one JSON object on a line of its own. */
export function say(event, rest = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...rest })}\n`)
}

/** Wait until the test says to go on. */
export async function permission() {
  const lines = createInterface({ input: process.stdin })
  await new Promise((resolve) => lines.once('line', resolve))
  lines.close()
}

/** Run the script: what `work` returns is its result; what it throws is its failure. */
export async function run(work) {
  try {
    say('done', await work())
    process.exitCode = 0
  } catch (error) {
    say('failed', { message: String(error?.message ?? error) })
    process.stderr.write(`${error?.stack ?? error}\n`)
    process.exitCode = 1
  }
  // A connection or a browser that is left open must not keep the script alive.
  process.stdout.write('', () => process.exit())
}
