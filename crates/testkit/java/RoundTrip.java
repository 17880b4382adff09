import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringReader;
import java.net.Socket;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Works off tasks that come over a TCP connection, one per line, several at a time: number, kind, topic and client
 * settings (base64 of a properties text), separated by tabs. Each is answered with number, word, milliseconds, count and
 * text (base64), in the order in which they end. See the module `driver` of the testkit for the kinds.
 *
 * Arguments: port to connect to, tasks at a time. Runs with the clients of Kafka 2.1 and everything newer.
 */
public class RoundTrip {
    private static final Map<String, Steady> STEADY = new ConcurrentHashMap<>();
    private static PrintStream answers;

    public static void main(String[] args) throws Exception {
        ExecutorService threads = Executors.newCachedThreadPool();
        Semaphore slots = new Semaphore(Integer.parseInt(args[1]));
        try (Socket socket = new Socket("127.0.0.1", Integer.parseInt(args[0]))) {
            answers = new PrintStream(socket.getOutputStream(), true, "UTF-8");
            BufferedReader lines =
                new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] task = line.split("\t", -1);
                threads.execute(() -> take(slots, task));
            }
        }
        System.exit(0);
    }

    private static void take(Semaphore slots, String[] task) {
        long begin = System.nanoTime();
        try {
            Properties settings = settings(task[3]);
            if (task[1].equals("stop")) {
                Steady steady = STEADY.remove(settings.getProperty("number"));
                steady.stop();
                answer(task[0], "ok", begin, steady.done.get(), steady.report());
            } else if (Arrays.asList("steady", "churn", "follow").contains(task[1])) {
                Steady steady = new Steady(task[2], settings, task[1]);
                STEADY.put(task[0], steady);
                steady.run(() -> answer(task[0], "ok", begin, 1, ""));
            } else {
                limited(slots, task, settings);
            }
        } catch (Throwable problem) {
            answer(task[0], "failed", begin, 0, chain(problem));
        }
    }

    /** The time starts when there is a slot. */
    private static void limited(Semaphore slots, String[] task, Properties settings) throws Exception {
        slots.acquire();
        long begin = System.nanoTime();
        try {
            String text = work(task[1], task[2], settings);
            answer(task[0], "ok", begin, text.isEmpty() ? 1 : text.split("\n").length, text);
        } catch (Throwable problem) {
            answer(task[0], "failed", begin, 0, chain(problem));
        } finally {
            slots.release();
        }
    }

    /** Does a task to its end; gives the lines that it has to tell. */
    private static String work(String kind, String topic, Properties settings) throws Exception {
        switch (kind) {
            case "authenticate":
                authenticate(topic, settings);
                return "";
            case "round-trip":
                roundTrip(topic, settings);
                return "";
            case "consume":
                return consume(topic, settings);
            default:
                // Programs that only newer clients can run are classes of their own.
                return (String) Class.forName("Modern")
                    .getMethod("work", String.class, String.class, Properties.class)
                    .invoke(null, kind, topic, settings);
        }
    }

    private static synchronized void answer(String number, String word, long begin, long count, String text) {
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
        String encoded = Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
        answers.println(String.join("\t", number, word, "" + millis, "" + count, encoded));
    }

    /** Class and message of a problem and of all that caused it. */
    private static String chain(Throwable problem) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = problem; cause != null; cause = cause.getCause()) {
            text.append(text.length() == 0 ? "" : "\ncaused by ");
            text.append(cause.getClass().getName()).append(": ").append(cause.getMessage());
        }
        return text.toString();
    }

    private static Properties settings(String encoded) throws IOException {
        Properties settings = new Properties();
        String text = new String(Base64.getDecoder().decode(encoded), StandardCharsets.UTF_8);
        settings.load(new StringReader(text));
        return settings;
    }

    /** Asks for the partitions of the topic, which fails at once if the credentials are refused. */
    private static void authenticate(String topic, Properties settings) {
        try (KafkaProducer<String, String> producer = producer(settings)) {
            producer.partitionsFor(topic);
        }
    }

    /** One record to each partition of the topic, acknowledged, and read back. */
    private static void roundTrip(String topic, Properties settings) throws Exception {
        List<RecordMetadata> sent = new ArrayList<>();
        String value = Long.toHexString(System.nanoTime());
        try (KafkaProducer<String, String> producer = producer(settings)) {
            List<Future<RecordMetadata>> pending = new ArrayList<>();
            int partitions = producer.partitionsFor(topic).size();
            for (int partition = 0; partition < partitions; partition++) {
                pending.add(producer.send(new ProducerRecord<>(topic, partition, value, value)));
            }
            for (Future<RecordMetadata> future : pending) {
                sent.add(future.get(60, TimeUnit.SECONDS));
            }
        }
        Properties reading = copy(settings);
        reading.put("enable.auto.commit", "false");
        reading.put("group.id", "unused");
        reading.put("auto.offset.reset", "none");
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (RecordMetadata record : sent) {
                partitions.add(new TopicPartition(topic, record.partition()));
            }
            consumer.assign(partitions);
            for (RecordMetadata record : sent) {
                consumer.seek(new TopicPartition(topic, record.partition()), record.offset());
            }
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            int left = sent.size();
            while (left > 0) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("timed out with " + left + " records to come");
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    left -= value.equals(record.value()) ? 1 : 0;
                }
            }
        }
    }

    /**
     * Subscribes to topics (separated by commas) or, if `pattern` is set, to those that it matches, and reads `count` records
     * in a group. Each becomes a line of topic, partition, offset and value.
     */
    private static String consume(String topics, Properties settings) {
        int count = Integer.parseInt((String) settings.remove("count"));
        String pattern = (String) settings.remove("pattern");
        StringBuilder lines = new StringBuilder();
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            if (pattern == null) {
                consumer.subscribe(Arrays.asList(topics.split(",")));
            } else {
                consumer.subscribe(Pattern.compile(pattern));
            }
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            for (int seen = 0; seen < count; ) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(
                        "timed out after " + seen + " of " + count + " records\n" + lines + places(consumer));
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    lines.append(record.topic()).append(' ').append(record.partition()).append(' ')
                        .append(record.offset()).append(' ').append(record.value()).append('\n');
                    seen++;
                }
            }
            consumer.commitSync();
        }
        return lines.toString();
    }

    /** Where a consumer stands, to tell why records do not come. */
    private static String places(KafkaConsumer<String, String> consumer) {
        StringBuilder text = new StringBuilder();
        for (TopicPartition partition : consumer.assignment()) {
            text.append(partition).append(" at ").append(consumer.position(partition)).append(" of ")
                .append(consumer.endOffsets(Collections.singleton(partition))).append(" from ")
                .append(consumer.beginningOffsets(Collections.singleton(partition))).append('\n');
        }
        return text.toString();
    }

    static KafkaProducer<String, String> producer(Properties settings) {
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static Properties copy(Properties settings) {
        Properties copy = new Properties();
        copy.putAll(settings);
        return copy;
    }

    /**
     * Works until stopped: one producer that sends and sends, one round trip of new clients after the other, or one consumer
     * that reads on.
     */
    private static final class Steady {
        final AtomicLong done = new AtomicLong();
        final List<String> failures = Collections.synchronizedList(new ArrayList<>());
        private final String topic;
        private final Properties settings;
        private final String kind;
        private volatile boolean stopped;
        private final CountDownLatch ended = new CountDownLatch(1);

        Steady(String topic, Properties settings, String kind) {
            this.topic = topic;
            this.settings = settings;
            this.kind = kind;
        }

        /** Calls `started` after the first success; works on until stopped. */
        void run(Runnable started) throws Exception {
            long pause = Long.parseLong((String) settings.remove("pause.ms"));
            try {
                switch (kind) {
                    case "churn":
                        churn(started, pause);
                        break;
                    case "follow":
                        follow(started, pause);
                        break;
                    default:
                        send(started, pause);
                }
            } finally {
                ended.countDown();
            }
        }

        private void churn(Runnable started, long pause) throws Exception {
            roundTrip(topic, settings);
            done.incrementAndGet();
            started.run();
            while (!stopped) {
                try {
                    roundTrip(topic, settings);
                    done.incrementAndGet();
                } catch (Exception problem) {
                    failures.add(chain(problem));
                }
                Thread.sleep(pause);
            }
        }

        private void send(Runnable started, long pause) throws Exception {
            try (KafkaProducer<String, String> producer = producer(settings)) {
                producer.send(new ProducerRecord<>(topic, "first")).get(60, TimeUnit.SECONDS);
                done.incrementAndGet();
                started.run();
                while (!stopped) {
                    try {
                        producer.send(new ProducerRecord<>(topic, "next"), this::count);
                    } catch (RuntimeException problem) {
                        failures.add(chain(problem));
                    }
                    Thread.sleep(pause);
                }
                producer.flush();
            }
        }

        /**
         * Counts each offset of the topics (separated by commas) once. When stopped, reads on to where their partitions end
         * by then. An offset that is left out is a failure, and so is a record of any other topic.
         */
        private void follow(Runnable started, long pause) {
            Map<TopicPartition, Long> next = new HashMap<>();
            Map<TopicPartition, Long> ends = null;
            List<String> topics = Arrays.asList(topic.split(","));
            boolean begun = false;
            try (KafkaConsumer<String, String> consumer =
                    new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
                consumer.subscribe(topics);
                while (ends == null || !reached(next, ends)) {
                    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(pause))) {
                        TopicPartition place = new TopicPartition(record.topic(), record.partition());
                        long expected = next.getOrDefault(place, 0L);
                        // What was read and not committed comes again.
                        if (record.offset() < expected) {
                            continue;
                        }
                        if (record.offset() > expected || !topics.contains(record.topic())) {
                            failures.add(place + " goes on at " + record.offset() + " after " + expected);
                        }
                        next.put(place, record.offset() + 1);
                        done.incrementAndGet();
                    }
                    if (!begun && done.get() > 0) {
                        begun = true;
                        started.run();
                    }
                    if (stopped && ends == null) {
                        ends = ends(consumer, topics);
                    }
                }
                consumer.commitSync();
            } catch (RuntimeException problem) {
                if (!begun) {
                    throw problem;
                }
                failures.add(chain(problem));
            }
        }

        private static boolean reached(Map<TopicPartition, Long> next, Map<TopicPartition, Long> ends) {
            return ends.entrySet().stream().allMatch(end -> next.getOrDefault(end.getKey(), 0L) >= end.getValue());
        }

        private static Map<TopicPartition, Long> ends(KafkaConsumer<String, String> consumer, List<String> topics) {
            List<TopicPartition> places = new ArrayList<>();
            for (String name : topics) {
                consumer.partitionsFor(name)
                    .forEach(partition -> places.add(new TopicPartition(name, partition.partition())));
            }
            return consumer.endOffsets(places);
        }

        private void count(RecordMetadata record, Exception problem) {
            if (problem == null) {
                done.incrementAndGet();
            } else {
                failures.add(chain(problem));
            }
        }

        /** The failures, each once with how often it happened. */
        String report() {
            Map<String, Integer> counts = new TreeMap<>();
            synchronized (failures) {
                failures.forEach(failure -> counts.merge(failure, 1, Integer::sum));
            }
            StringBuilder text = new StringBuilder();
            counts.forEach((failure, count) -> text.append(count).append(" x ").append(failure).append('\n'));
            return text.toString();
        }

        void stop() throws InterruptedException {
            stopped = true;
            ended.await();
        }
    }

    /** Gives the client the token of the JAAS option `token`, or what the URL of the option `url` gives. */
    public static final class Tokens implements AuthenticateCallbackHandler {
        private String token;
        private String url;

        @Override
        public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
            token = (String) entries.get(0).getOptions().get("token");
            url = (String) entries.get(0).getOptions().get("url");
        }

        @Override
        public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
            for (Callback callback : callbacks) {
                if (callback instanceof OAuthBearerTokenCallback) {
                    ((OAuthBearerTokenCallback) callback).token(new Token(url == null ? token : fetch(url)));
                } else {
                    throw new UnsupportedCallbackException(callback);
                }
            }
        }

        @Override
        public void close() {}

        private static String fetch(String url) throws IOException {
            try (InputStream body = new URL(url).openStream()) {
                return new String(body.readAllBytes(), StandardCharsets.UTF_8).trim();
            }
        }
    }

    private static final class Token implements OAuthBearerToken {
        private final String value;
        private final String claims;

        Token(String value) {
            this.value = value;
            String[] parts = value.split("\\.");
            claims = parts.length < 2 ? "" : decoded(parts[1]);
        }

        private static String decoded(String part) {
            try {
                return new String(Base64.getUrlDecoder().decode(part), StandardCharsets.UTF_8);
            } catch (IllegalArgumentException problem) {
                return "";
            }
        }

        @Override
        public String value() {
            return value;
        }

        @Override
        public Set<String> scope() {
            return Collections.emptySet();
        }

        @Override
        public long lifetimeMs() {
            return seconds("exp", System.currentTimeMillis() / 1000 + 3600) * 1000;
        }

        @Override
        public String principalName() {
            return "client";
        }

        @Override
        public Long startTimeMs() {
            return seconds("iat", System.currentTimeMillis() / 1000) * 1000;
        }

        private long seconds(String claim, long other) {
            Matcher matcher = Pattern.compile("\"" + claim + "\"\\s*:\\s*(\\d+)").matcher(claims);
            return matcher.find() ? Long.parseLong(matcher.group(1)) : other;
        }
    }
}
