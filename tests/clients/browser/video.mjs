// Plays an upload in a <video> of a page of another origin, seeks in it, and opens it by itself.
//
// Job: chromium, url, seekTo and pauseFor (seconds).

import { createServer } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'

import { job, run } from '../job.mjs'
import { problemsOf, withPage } from './browser.mjs'

const WITHIN_MS = 20_000

const pages = createServer((_, response) => {
  response.setHeader('Content-Type', 'text/html')
  response.end(`<!doctype html><title>A film</title><link rel="icon" href="data:,">
    <video muted controls preload="metadata" src="${job.url}"></video>`)
})

await run(async () => {
  await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve))
  return withPage(async (page) => {
    const problems = problemsOf(page)
    const answers = answersOf(page)
    // The browser's cache asks for other ranges than the player, and makes up answers from them.
    const tools = await page.context().newCDPSession(page)
    await tools.send('Network.enable')
    await tools.send('Network.setCacheDisabled', { cacheDisabled: true })
    await page.goto(`http://127.0.0.1:${pages.address().port}/`)
    const seen = await watch(page)
    const embedded = answers.splice(0)
    await page.goto(job.url)
    const alone = await watch(page)
    return { seen, alone, embedded, direct: answers, problems }
  })
})

/** The ranges that the browser asks for, and what it is answered. */
function answersOf(page) {
  const answers = []
  page.on('response', async (response) => {
    if (response.url() !== job.url) return
    const headers = response.headers()
    answers.push({
      asked: (await response.request().allHeaders()).range ?? null,
      status: response.status(),
      range: headers['content-range'] ?? null,
      length: headers['content-length'] ?? null,
    })
  })
  return answers
}

/** Play for a moment; pause for longer than the server waits for a reader; seek, and play again. */
async function watch(page) {
  const begun = await playFrom(page, 0)
  await page.evaluate(() => document.querySelector('video').pause())
  await pause(1000 * job.pauseFor)
  const sought = await playFrom(page, job.seekTo)
  const [duration, width, height] = await page.evaluate(() => {
    const video = document.querySelector('video')
    return [video.duration, video.videoWidth, video.videoHeight]
  })
  return { begun, sought, duration, width, height }
}

/** Looked at from outside: where an upload is opened by itself, no script runs, not even a timer. */
async function playFrom(page, seconds) {
  await page.evaluate((at) => {
    const video = document.querySelector('video')
    video.muted = true
    video.currentTime = at
    void video.play()
  }, seconds)
  const until = Date.now() + WITHIN_MS
  while (Date.now() < until) {
    const [now, seeking, error] = await page.evaluate(() => {
      const video = document.querySelector('video')
      return [video.currentTime, video.seeking, video.error?.message ?? null]
    })
    if (error !== null) throw new Error(error)
    if (!seeking && now >= seconds + 0.2) return now
    await pause(20)
  }
  throw new Error(`the film did not get to ${seconds + 0.2} s`)
}
