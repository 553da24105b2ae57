// Uploads one file with tus-js-client.
//
// Job: endpoint, path, options (tus-js-client's own), and, if wanted: source ('file', 'stream' or
// 'buffer'), urlStorage (path of its file; the upload is resumed if it knows one), abortAt (stop
// and terminate once so many bytes are stored and the next ones are being sent).

import { createReadStream, readFileSync } from 'node:fs'
import { Readable } from 'node:stream'

import * as tus from 'tus-js-client'

import { job, run } from '../job.mjs'

const sources = {
  file: () => createReadStream(job.path),
  buffer: () => readFileSync(job.path),
  // Without a path, so that tus-js-client cannot know its length.
  stream: () => Readable.from(createReadStream(job.path), { objectMode: false }),
}

const requests = []

function record(request, response) {
  requests.push({
    method: request.getMethod(),
    override: request.getHeader('X-HTTP-Method-Override'),
    offset: request.getHeader('Upload-Offset'),
    length: request.getHeader('Upload-Length'),
    status: response.getStatus(),
    body: response.getBody(),
  })
}

await run(
  () =>
    new Promise((resolve, reject) => {
      const upload = new tus.Upload(sources[job.source ?? 'file'](), {
        ...job.options,
        endpoint: job.endpoint,
        ...(job.urlStorage && { urlStorage: new tus.FileUrlStorage(job.urlStorage) }),
        onAfterResponse: record,
        onError: reject,
        onSuccess: () => resolve({ url: upload.url, requests }),
        onProgress(sent) {
          if (job.abortAt !== undefined && sent > job.abortAt) {
            job.abortAt = undefined
            upload.abort(true).then(() => resolve({ url: upload.url, requests }), reject)
          }
        },
      })
      start(upload).catch(reject)
    }),
)

async function start(upload) {
  if (job.urlStorage) {
    const [previous] = await upload.findPreviousUploads()
    if (previous) upload.resumeFromPreviousUpload(previous)
  }
  upload.start()
}
