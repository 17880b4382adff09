import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A group that moves from the classic to the consumer protocol and back, member by member, while records come. All members live
 * here, so that one table knows at each moment who owns what.
 */
public class Movers {
    /** For each thing that is waited for. */
    private static final long PATIENCE_SECONDS = 60;

    private final String topic;
    private final Properties settings;
    private final String group;
    private final String groupAtBrokers;
    private final String assignor;
    private final int partitions;
    /** Who owns a partition: set when a member is told so, taken out before it lets others know that it has given up. */
    private final Map<Integer, String> owners = new ConcurrentHashMap<>();
    /** How often each record was delivered, by partition and offset. */
    private final Map<String, Integer> delivered = new ConcurrentHashMap<>();
    private final Set<String> topics = Collections.synchronizedSet(new TreeSet<>());
    private final List<String> problems = Collections.synchronizedList(new ArrayList<>());
    private final AtomicLong acknowledged = new AtomicLong();
    private final StringBuilder report = new StringBuilder();

    private Movers(String topic, Properties settings) {
        this.topic = topic;
        this.settings = settings;
        group = (String) settings.remove("group.id");
        groupAtBrokers = (String) settings.remove("brokers.group");
        assignor = (String) settings.remove("assignor");
        partitions = Integer.parseInt((String) settings.remove("partitions"));
    }

    /**
     * Moves `group.id` with `assignor` there and back `rounds` times, with a record each `pause.ms`. The report has a line for each state that
     * was reached: protocols of the members, type of the group, how many there are, and the topics that are assigned; here, and to
     * `brokers.group` at `brokers.bootstrap`. Then one with what was sent and read, and one for each `problem`.
     */
    static String move(String topic, Properties settings) throws Exception {
        int rounds = Integer.parseInt((String) settings.remove("rounds"));
        long pause = Long.parseLong((String) settings.remove("pause.ms"));
        Properties brokers = new Properties();
        brokers.put("bootstrap.servers", settings.remove("brokers.bootstrap"));
        Movers movers = new Movers(topic, settings);
        try (Admin admin = Admin.create(settings);
                Admin atBrokers = Admin.create(brokers)) {
            movers.all(admin, atBrokers, rounds, pause);
        }
        return movers.report.toString();
    }

    private void all(Admin admin, Admin atBrokers, int rounds, long pause) throws Exception {
        List<Member> members = new ArrayList<>();
        Load load = new Load(pause);
        load.start();
        try {
            members.add(new Member("classic"));
            members.add(new Member("classic"));
            settle(admin, atBrokers, members, "classic");
            for (int round = 0; round < rounds; round++) {
                exchange(admin, atBrokers, members, "consumer");
                exchange(admin, atBrokers, members, "classic");
            }
            load.end();
            await("all records", () -> delivered.size() == acknowledged.get());
        } finally {
            load.stopped = true;
            load.join();
            for (Member member : members) {
                member.end();
            }
        }
        int more = delivered.values().stream().mapToInt(times -> times - 1).sum();
        report.append("sent ").append(acknowledged).append(" read ").append(delivered.size()).append(" again ").append(more)
            .append('\n');
        report.append("topics ").append(topics).append('\n');
        problems.forEach(problem -> report.append("problem ").append(problem).append('\n'));
    }

    /** One member after the other goes, after one of the other protocol has come. */
    private void exchange(Admin admin, Admin atBrokers, List<Member> members, String protocol) throws Exception {
        int count = members.size();
        for (int done = 0; done < count; done++) {
            members.add(new Member(protocol));
            settle(admin, atBrokers, members, "mixed");
            members.remove(0).end();
            settle(admin, atBrokers, members, done + 1 < count ? "mixed" : protocol);
        }
    }

    /** Waits until every partition is owned, every member owns some, and a record of each partition has come to who owns it now. */
    private void settle(Admin admin, Admin atBrokers, List<Member> members, String what) throws Exception {
        await("all partitions to be owned by " + members + ", " + what, () ->
            owners.size() == partitions && members.stream().allMatch(member -> owners.containsValue(member.name)));
        for (Member member : members) {
            member.read.clear();
        }
        await("records of all partitions after a move", () ->
            members.stream().mapToInt(member -> member.read.size()).sum() >= partitions);
        report.append("state ").append(what).append(' ').append(described(admin, group)).append(" at brokers ")
            .append(described(atBrokers, groupAtBrokers)).append('\n');
    }

    private static String described(Admin admin, String group) throws Exception {
        ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        Set<String> topics = new TreeSet<>();
        for (MemberDescription member : described.members()) {
            for (TopicPartition partition : member.assignment().topicPartitions()) {
                topics.add(partition.topic());
            }
        }
        return described.type() + " " + described.members().size() + " " + topics;
    }

    private void await(String what, BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("timed out waiting for " + what + "; owners " + new TreeMap<>(owners) + ", sent "
                    + acknowledged + ", read " + delivered.size() + ", " + problems + "\n" + report);
            }
            Thread.sleep(10);
        }
    }

    /** Sends records to all partitions in turn until told to end. */
    private final class Load extends Thread {
        private final long pause;
        private volatile boolean stopped;

        Load(long pause) {
            this.pause = pause;
        }

        @Override
        public void run() {
            Properties writing = RoundTrip.copy(settings);
            writing.put("acks", "all");
            try (KafkaProducer<String, String> producer =
                    new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer())) {
                for (long number = 0; !stopped; number++) {
                    producer.send(new ProducerRecord<>(topic, (int) (number % partitions), null, "" + number), (at, problem) -> {
                        if (problem == null) {
                            acknowledged.incrementAndGet();
                        } else {
                            problems.add("a record was not sent: " + problem);
                        }
                    });
                    Thread.sleep(pause);
                }
            } catch (Exception problem) {
                problems.add("the producer: " + problem);
            }
        }

        void end() throws InterruptedException {
            stopped = true;
            join();
        }
    }

    private static final String AFTER_A_POLL = "after a poll";
    private static final AtomicLong NAMES = new AtomicLong();

    /** A consumer and its thread. Commits what it has read after each poll and before it gives up partitions. */
    private final class Member extends Thread implements ConsumerRebalanceListener {
        final String name;
        /** Partitions of which something was read since somebody cleared it. */
        final Set<Integer> read = ConcurrentHashMap.newKeySet();
        private final KafkaConsumer<String, String> consumer;
        private volatile boolean stopped;

        Member(String protocol) {
            name = protocol + "-" + NAMES.incrementAndGet();
            Properties reading = RoundTrip.copy(settings);
            reading.put("group.id", group);
            reading.put("client.id", name);
            reading.put("auto.offset.reset", "earliest");
            reading.put("enable.auto.commit", "false");
            reading.put("group.protocol", protocol);
            if (protocol.equals("classic")) {
                reading.put("partition.assignment.strategy", assignor);
                reading.put("heartbeat.interval.ms", "100");
            }
            consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic), this);
            start();
        }

        @Override
        public void run() {
            try (consumer) {
                while (!stopped) {
                    boolean some = false;
                    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                        take(record);
                        some = true;
                    }
                    if (some) {
                        commit(AFTER_A_POLL);
                    }
                }
            } catch (Throwable problem) {
                problems.add(name + " failed: " + problem);
            } finally {
                owners.values().removeIf(name::equals);
            }
        }

        private void take(ConsumerRecord<String, String> record) {
            String at = record.partition() + "@" + record.offset();
            String owner = owners.get(record.partition());
            if (!name.equals(owner)) {
                problems.add(name + " was given " + at + " of " + owner);
            }
            if (delivered.merge(at, 1, Integer::sum) > 1) {
                problems.add(name + " was given " + at + " again");
            }
            topics.add(record.topic());
            read.add(record.partition());
        }

        private void commit(String when) {
            try {
                consumer.commitSync();
            } catch (RebalanceInProgressException later) {
                // Those who keep their partitions meanwhile commit the next time.
                if (!when.equals(AFTER_A_POLL)) {
                    problems.add(name + " could not commit " + when + ": " + later);
                }
            } catch (RuntimeException problem) {
                problems.add(name + " could not commit " + when + ": " + problem);
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
            for (TopicPartition partition : assigned) {
                topics.add(partition.topic());
                String other = owners.put(partition.partition(), name);
                if (other != null && !other.equals(name)) {
                    problems.add(name + " owns " + partition + " while " + other + " does");
                }
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
            commit("what it gave up");
            revoked.forEach(partition -> owners.remove(partition.partition(), name));
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> lost) {
            problems.add(name + " lost " + lost.stream().map(TopicPartition::toString).collect(Collectors.joining(" ")));
            lost.forEach(partition -> owners.remove(partition.partition(), name));
        }

        void end() throws InterruptedException {
            stopped = true;
            join();
        }

        @Override
        public String toString() {
            return name;
        }
    }
}
