// @tus/server with its S3 store, as its documentation shows. Credentials come from the environment.

import { S3Store } from '@tus/s3-store'
import { Server } from '@tus/server'

const env = process.env

const datastore = new S3Store({
  partSize: Number(env.BENCH_PART_BYTES),
  s3ClientConfig: {
    bucket: env.BENCH_BUCKET,
    region: env.BENCH_S3_REGION,
    endpoint: env.BENCH_S3_ENDPOINT,
    forcePathStyle: true,
    credentials: {
      accessKeyId: env.AWS_ACCESS_KEY_ID,
      secretAccessKey: env.AWS_SECRET_ACCESS_KEY,
    },
  },
})

const server = new Server({ path: '/files', datastore, relativeLocation: true })
server.listen({ host: '127.0.0.1', port: Number(env.BENCH_PORT) })
