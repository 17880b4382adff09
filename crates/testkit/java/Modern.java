import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Tasks of {@link RoundTrip} that only the clients of the current release can do. */
public class Modern {
    public static String work(String kind, String topic, Properties settings) throws Exception {
        switch (kind) {
            case "share":
                return share(topic, settings);
            case "match":
                return match(topic, settings);
            case "copy":
                return copyInTransactions(topic, settings);
            case "sweep":
                return sweep(topic, settings);
            case "move":
                return Movers.move(topic, settings);
            default:
                throw new IllegalArgumentException("no such task: " + kind);
        }
    }

    /** Reads `count` records in a share group and accepts them; each becomes a line of topic, partition, offset and value. */
    private static String share(String topic, Properties settings) {
        int count = Integer.parseInt((String) settings.remove("count"));
        StringBuilder lines = new StringBuilder();
        try (KafkaShareConsumer<String, String> consumer =
                new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            for (int seen = 0; seen < count; ) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("timed out after " + seen + " of " + count);
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    note(record, lines);
                    seen++;
                }
                consumer.commitSync();
            }
        }
        return lines.toString();
    }

    /** Reads `count` records of topics that match an expression which brokers evaluate (KIP-848). */
    private static String match(String pattern, Properties settings) {
        int count = Integer.parseInt((String) settings.remove("count"));
        StringBuilder lines = new StringBuilder();
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(new SubscriptionPattern(pattern));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            for (int seen = 0; seen < count; ) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("timed out after " + seen + " of " + count + "\n" + lines);
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    note(record, lines);
                    seen++;
                }
            }
        }
        return lines.toString();
    }

    private static void note(ConsumerRecord<String, String> record, StringBuilder lines) {
        lines.append(record.topic()).append(' ').append(record.partition()).append(' ')
            .append(record.offset()).append(' ').append(record.value()).append('\n');
    }

    /**
     * Copies what a group has not read yet to the topic `to`, in transactions of one poll each, up to the offset `end` of
     * partition 0. Every third transaction is aborted and done again.
     */
    private static String copyInTransactions(String topic, Properties settings) throws Exception {
        String to = (String) settings.remove("to");
        long end = Long.parseLong((String) settings.remove("end"));
        Properties reading = RoundTrip.copy(settings);
        reading.remove("transactional.id");
        reading.put("enable.auto.commit", "false");
        reading.put("auto.offset.reset", "earliest");
        reading.put("isolation.level", "read_committed");
        reading.put("max.poll.records", "20");
        Properties writing = RoundTrip.copy(settings);
        writing.remove("group.id");
        String group = settings.getProperty("group.id");
        TopicPartition from = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = RoundTrip.producer(writing);
                KafkaConsumer<String, String> consumer =
                    new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
            producer.initTransactions();
            consumer.assign(List.of(from));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            for (int round = 1; consumer.position(from) < end; round++) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("timed out at " + consumer.position(from));
                }
                long begin = consumer.position(from);
                List<ConsumerRecord<String, String>> records = new ArrayList<>();
                consumer.poll(Duration.ofMillis(500)).forEach(records::add);
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(to, record.key(), record.value()));
                }
                Map<TopicPartition, OffsetAndMetadata> offsets =
                    Map.of(from, new OffsetAndMetadata(consumer.position(from)));
                producer.sendOffsetsToTransaction(offsets, new ConsumerGroupMetadata(group));
                if (round % 3 == 0) {
                    producer.abortTransaction();
                    consumer.seek(from, begin);
                } else {
                    producer.commitTransaction();
                }
            }
        }
        return "";
    }

    /** A call of the admin client that gives something to print. */
    private interface Call {
        Object on(Admin admin) throws Exception;
    }

    /**
     * Calls every method of the admin client once, in an order in which later calls find what earlier ones made, and tells in
     * a line each what came of it: `method = answer` or `method ! class of the exception: message`. Methods that were not
     * called are listed as `method ?`. `topic` exists; `group` is a consumer group with an offset of it, `transactional.id`
     * a transactional id in use.
     */
    private static String sweep(String topic, Properties settings) throws Exception {
        String group = (String) settings.remove("group.id");
        String transactional = (String) settings.remove("transactional.id");
        StringBuilder lines = new StringBuilder();
        Set<String> called = new TreeSet<>(List.of(
            "create", "close", "metrics", "registerMetricForSubscription", "unregisterMetricFromSubscription"));
        try (Admin admin = Admin.create(settings)) {
            for (Map.Entry<String, Call> call : calls(topic, group, transactional).entrySet()) {
                // A number puts them into order, a dash tells several uses of a method apart.
                String name = call.getKey().substring(3);
                called.add(name.replaceAll("-.*", ""));
                String outcome;
                try {
                    outcome = " = " + call.getValue().on(admin);
                } catch (Throwable problem) {
                    Throwable cause = problem instanceof ExecutionException ? problem.getCause() : problem;
                    outcome = " ! " + cause.getClass().getSimpleName() + ": " + cause.getMessage();
                }
                lines.append(name).append(outcome.replace('\n', ' ')).append('\n');
            }
        }
        for (Method method : Admin.class.getMethods()) {
            if (!Modifier.isStatic(method.getModifiers()) && called.add(method.getName())) {
                lines.append(method.getName()).append(" ?\n");
            }
        }
        return lines.toString();
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }

    private static <T> List<T> all(Collection<KafkaFuture<T>> futures) throws Exception {
        List<T> values = new ArrayList<>();
        for (KafkaFuture<T> future : futures) {
            values.add(get(future));
        }
        return values;
    }

    private static Map<String, Call> calls(String topic, String group, String transactional) {
        Map<String, Call> calls = new TreeMap<>();
        TopicPartition partition = new TopicPartition(topic, 0);
        TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, 1);
        ConfigResource own = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        ConfigResource ofGroup = new ConfigResource(ConfigResource.Type.GROUP, group);
        AclBinding binding = new AclBinding(
            new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL),
            new AccessControlEntry("User:reader", "*", AclOperation.READ, AclPermissionType.ALLOW));
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "swept"));
        Map<TopicPartition, OffsetAndMetadata> offset = Map.of(partition, new OffsetAndMetadata(1));

        calls.put("00 createTopics", a -> get(a.createTopics(List.of(new NewTopic("made-by-sweep", 1, (short) 1))).all()));
        calls.put("01 createTopics-exists", a -> get(a.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all()));
        calls.put("02 createPartitions", a -> get(a.createPartitions(Map.of("made-by-sweep", NewPartitions.increaseTo(2))).all()));
        calls.put("03 listTopics", a -> get(a.listTopics(new ListTopicsOptions().listInternal(true)).listings()));
        calls.put("04 describeTopics", a -> get(a.describeTopics(List.of(topic)).allTopicNames()));
        calls.put("05 describeTopics-none", a -> get(a.describeTopics(List.of("nowhere")).allTopicNames()));
        calls.put("06 describeTopics-ids", a -> {
            Uuid id = get(a.describeTopics(List.of(topic)).allTopicNames()).get(topic).topicId();
            return get(a.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds());
        });
        calls.put("07 describeCluster", a -> {
            DescribeClusterResult result = a.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
            return get(result.clusterId()) + " " + get(result.nodes()) + " " + get(result.authorizedOperations());
        });
        calls.put("10 describeConfigs", a -> get(a.describeConfigs(List.of(own)).all()));
        calls.put("11 describeConfigs-group", a -> get(a.describeConfigs(List.of(ofGroup)).all()));
        calls.put("12 describeConfigs-broker", a ->
            get(a.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.BROKER, "1"))).all()));
        calls.put("13 incrementalAlterConfigs", a -> get(a.incrementalAlterConfigs(Map.of(own, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET)))).all()));
        calls.put("14 incrementalAlterConfigs-bad", a -> get(a.incrementalAlterConfigs(Map.of(own, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all()));
        calls.put("15 incrementalAlterConfigs-broker", a -> get(a.incrementalAlterConfigs(Map.of(
            new ConfigResource(ConfigResource.Type.BROKER, "1"), List.of(
                new AlterConfigOp(new ConfigEntry("num.io.threads", "5"), AlterConfigOp.OpType.SET)))).all()));
        calls.put("16 listConfigResources", a -> get(a.listConfigResources().all()));
        calls.put("17 listClientMetricsResources", a -> get(a.listClientMetricsResources().all()));
        calls.put("18 clientInstanceId", a -> a.clientInstanceId(Duration.ofSeconds(5)));
        calls.put("20 describeLogDirs", a -> get(a.describeLogDirs(List.of(1, 2, 3)).allDescriptions()));
        calls.put("21 describeReplicaLogDirs", a -> get(a.describeReplicaLogDirs(List.of(replica)).all()));
        calls.put("22 alterReplicaLogDirs", a -> get(a.alterReplicaLogDirs(Map.of(replica, "/elsewhere")).all()));
        calls.put("23 listOffsets", a -> get(a.listOffsets(Map.of(partition, OffsetSpec.latest())).all()));
        calls.put("24 describeProducers", a -> get(a.describeProducers(List.of(partition)).all()));
        calls.put("25 deleteRecords", a -> all(a.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(0))).lowWatermarks().values()));
        calls.put("26 electLeaders", a -> get(a.electLeaders(ElectionType.PREFERRED, null).all()));
        calls.put("27 alterPartitionReassignments", a -> get(a.alterPartitionReassignments(
            Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(2))))).all()));
        calls.put("28 listPartitionReassignments", a -> get(a.listPartitionReassignments().reassignments()));
        calls.put("30 listGroups", a -> get(a.listGroups().all()));
        calls.put("31 listConsumerGroups", a -> get(a.listConsumerGroups().all()));
        calls.put("32 describeConsumerGroups", a -> get(a.describeConsumerGroups(List.of(group)).all()));
        calls.put("33 describeClassicGroups", a -> get(a.describeClassicGroups(List.of(group)).all()));
        calls.put("34 listConsumerGroupOffsets", a -> get(a.listConsumerGroupOffsets(group).all()));
        calls.put("35 alterConsumerGroupOffsets", a -> get(a.alterConsumerGroupOffsets("made-by-sweep", offset).all()));
        calls.put("36 removeMembersFromConsumerGroup", a -> get(a.removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions()).all()));
        calls.put("37 deleteConsumerGroupOffsets", a -> get(a.deleteConsumerGroupOffsets("made-by-sweep", Set.of(partition)).all()));
        calls.put("38 deleteConsumerGroups", a -> get(a.deleteConsumerGroups(List.of("made-by-sweep")).all()));
        calls.put("40 describeShareGroups", a -> get(a.describeShareGroups(List.of("shared-by-sweep")).all()));
        calls.put("41 alterShareGroupOffsets", a -> get(a.alterShareGroupOffsets("shared-by-sweep", Map.of(partition, 1L)).all()));
        calls.put("42 listShareGroupOffsets", a -> get(a.listShareGroupOffsets(
            Map.of("shared-by-sweep", new ListShareGroupOffsetsSpec())).all()));
        calls.put("43 deleteShareGroupOffsets", a -> get(a.deleteShareGroupOffsets("shared-by-sweep", Set.of(topic)).all()));
        calls.put("44 deleteShareGroups", a -> get(a.deleteShareGroups(List.of("shared-by-sweep")).all()));
        calls.put("45 describeStreamsGroups", a -> get(a.describeStreamsGroups(List.of("streamed")).all()));
        calls.put("46 alterStreamsGroupOffsets", a -> get(a.alterStreamsGroupOffsets("streamed", offset).all()));
        calls.put("47 listStreamsGroupOffsets", a -> get(a.listStreamsGroupOffsets(
            Map.of("streamed", new ListStreamsGroupOffsetsSpec())).all()));
        calls.put("48 deleteStreamsGroupOffsets", a -> get(a.deleteStreamsGroupOffsets("streamed", Set.of(partition)).all()));
        calls.put("49 deleteStreamsGroups", a -> get(a.deleteStreamsGroups(List.of("streamed")).all()));
        calls.put("50 listTransactions", a -> get(a.listTransactions().all()));
        calls.put("51 listTransactions-pattern", a -> get(a.listTransactions(
            new ListTransactionsOptions().filterOnTransactionalIdPattern(".*")).all()));
        calls.put("52 describeTransactions", a -> get(a.describeTransactions(List.of(transactional)).all()));
        calls.put("53 fenceProducers", a -> get(a.fenceProducers(List.of(transactional)).all()));
        calls.put("54 forceTerminateTransaction", a -> get(a.forceTerminateTransaction(transactional).result()));
        calls.put("55 abortTransaction", a -> get(a.abortTransaction(new AbortTransactionSpec(partition, 1, (short) 0, 0)).all()));
        calls.put("60 describeAcls", a -> get(a.describeAcls(AclBindingFilter.ANY).values()));
        calls.put("61 createAcls", a -> get(a.createAcls(List.of(binding)).all()));
        calls.put("62 deleteAcls", a -> get(a.deleteAcls(List.of(binding.toFilter())).all()));
        calls.put("63 createDelegationToken", a -> get(a.createDelegationToken().delegationToken()));
        calls.put("64 renewDelegationToken", a -> get(a.renewDelegationToken(new byte[] {1}).expiryTimestamp()));
        calls.put("65 expireDelegationToken", a -> get(a.expireDelegationToken(new byte[] {1}).expiryTimestamp()));
        calls.put("66 describeDelegationToken", a -> get(a.describeDelegationToken().delegationTokens()));
        calls.put("67 describeUserScramCredentials", a -> get(a.describeUserScramCredentials().all()));
        calls.put("68 alterUserScramCredentials", a -> get(a.alterUserScramCredentials(List.of(
            new UserScramCredentialUpsertion("swept", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "pass"))).all()));
        calls.put("70 describeClientQuotas", a -> get(a.describeClientQuotas(ClientQuotaFilter.all()).entities()));
        calls.put("71 alterClientQuotas", a -> get(a.alterClientQuotas(List.of(new ClientQuotaAlteration(entity,
            List.of(new ClientQuotaAlteration.Op("consumer_byte_rate", 1.0))))).all()));
        calls.put("72 describeFeatures", a -> get(a.describeFeatures().featureMetadata()));
        calls.put("73 updateFeatures", a -> get(a.updateFeatures(Map.of("metadata.version",
            new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UNSAFE_DOWNGRADE))).all()));
        calls.put("74 describeMetadataQuorum", a -> get(a.describeMetadataQuorum().quorumInfo()));
        calls.put("75 unregisterBroker", a -> get(a.unregisterBroker(99).all()));
        calls.put("76 addRaftVoter", a -> get(a.addRaftVoter(9, Uuid.randomUuid(),
            Set.of(new RaftVoterEndpoint("CONTROLLER", "127.0.0.1", 9))).all()));
        calls.put("77 removeRaftVoter", a -> get(a.removeRaftVoter(9, Uuid.randomUuid()).all()));
        calls.put("80 deleteTopics", a -> get(a.deleteTopics(List.of("made-by-sweep")).all()));
        calls.put("81 deleteTopics-none", a -> get(a.deleteTopics(List.of("nowhere")).all()));
        return calls;
    }
}
